"""Engines that run the job, each started on loopback.

In reading order: `engines` (their parts, fetched once), `cluster` (processes that end together; a Flink cluster),
`pool` (Beam's workers for one TaskManager, a separate program), `runners` (every way to run the job, as flags).
"""
