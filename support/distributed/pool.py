"""Beam's worker pool at one address: `python pool.py ADDRESS:PORT`.

A pool identifies its workers by the names that a TaskManager gives them, and two TaskManagers give the same names: each
needs its own pool, as it has on separate machines. Beam's own command listens on every address of a machine, so that
only one can use a port.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


def main() -> None:
    """Serves until it is killed; the workers end with their TaskManager's connection."""
    server = grpc.server(ThreadPoolExecutor())
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, data_buffer_time_limit_ms=-1)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
