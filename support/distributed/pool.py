"""Beam's worker pool at one address: `python pool.py ADDRESS:PORT`.

A pool knows its workers by the names that a TaskManager gives them, and two TaskManagers give the same: each must have
a pool of its own, as it has on machines apart. Beam's own command listens at every address of a machine, so that only
one can have a port.
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
