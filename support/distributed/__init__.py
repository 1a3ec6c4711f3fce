"""Engines that run the job, each started on loopback.

In reading order: `engines` (their parts, fetched once), `cluster` (processes that end together; Flink out of these),
`pool` (Beam's workers for one TaskManager, a program of its own), `runners` (every way to run the job, as flags).
"""
