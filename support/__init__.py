"""Modules that tests and benchmarks share; not installed.

Imports `pipeline` and `transforms`, which never import it, and neither `tests` nor `benchmarks`. In reading order:

Data without a model: `random_rows` (rows by column), `redraw` (runs sampled from the rows of another).
Models: `networks` (for measurements of the engine), `attributions` (by a compiled step alone).
Faults: `stores` (object stores on loopback), `fault_job` and `fault_job_preload` (the job that faults disturb),
`faults` and `flink_faults` (the faults).
External programs: `distributed` (engines that run the job), `environment` (virtual environments), `external` (tests
that run in these).
"""
