"""Faults of a Flink cluster, which `support.faults` tries."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from support.distributed import cluster, engines, runners
from support.distributed.cluster import Cluster
from support.fault_job import Ended, Job, Running

_STAGES = 20
"""Number of stages of the job on Flink, about; together with its parts, the measure of its progress."""


class Scene(Protocol):
    """The attributes of `support.faults.Scene` that are used here."""

    job: Job
    output: str
    chance: random.Random
    closing: contextlib.ExitStack
    flags: tuple[str, ...]

    def start(self, *flags: str) -> Running:
        """Starts the job."""


def task_manager_killed(scene: Scene) -> Ended:
    """Kills one of two TaskManagers; a new one is started before the job is resumed."""
    name = f"taskmanager-{1 + scene.chance.randrange(2)}"
    return _on_flink(scene, lambda up: up.services.kill(name), lambda up: up.services.restart(name))


def job_manager_killed(scene: Scene) -> Ended:
    """Kills the JobManager; a new one, without its state, is started before the job is resumed."""
    name = "jobmanager"
    return _on_flink(scene, lambda up: up.services.kill(name), lambda up: up.services.restart(name))


def flink_workers_killed(scene: Scene) -> Ended:
    """Kills Beam's workers of one TaskManager, with their pool."""
    name = f"workers-{1 + scene.chance.randrange(2)}"
    return _on_flink(scene, lambda up: up.services.kill(name), lambda up: up.services.restart(name))


def _on_flink(scene: Scene, disturb: Callable[[Cluster], Any], heal: Callable[[Cluster], Any]) -> Ended:
    """Disturbs the job's cluster a seeded time after a seeded number of stages and parts is done.

    One try in four is resumed on the same cluster, once the killed process runs again; the others without it, which
    is ten times as fast.
    """
    jar = engines.job_server()
    up = scene.closing.enter_context(cluster.running(2, variables=runners.ONE_THREAD))
    scene.flags = flags = (*up.flags(), *runners.job_server_flags(jar))
    wanted, later = scene.chance.randrange(_STAGES + len(scene.job.files)), scene.chance.uniform(0, 0.5)
    running = scene.start()
    while running.alive and _done(scene, up) < wanted:
        time.sleep(0.05)
    time.sleep(later)
    disturb(up)
    ended = running.wait()
    scene.flags = ()
    if scene.chance.random() < 0.25:
        heal(up)
        up.wait()
        scene.flags = flags
    words = [line for line in ended.errors.splitlines(keepends=True) if line.startswith("ig-audit: ")]
    return Ended(ended.code, "".join(words))  # the job server's log contains how Flink ended it


def _done(scene: Scene, up: Cluster) -> int:
    """Returns the number of stages that have ended plus the number of parts that exist."""
    vertices = [vertex for job in up.get("/jobs")["jobs"] for vertex in up.get(f"/jobs/{job['id']}")["vertices"]]
    ended = sum(vertex["status"] == "FINISHED" for vertex in vertices)
    return ended + len(scene.job.bucket.names(f"{scene.output}/attributions"))
