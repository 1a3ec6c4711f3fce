"""What tests and benchmarks both need; nothing of it is installed.

Imports `pipeline` and `transforms`, which never import it, and neither `tests` nor `benchmarks`. In reading order:

Data without a model: `random_rows` (rows by column), `redraw` (runs drawn from the rows of another).
Models: `networks` (those that the engine is measured on), `attributions` (of a compiled step alone).
Faults: `stores` (object stores on loopback), `fault_job` and `fault_job_preload` (a job to be disturbed), `faults` and
`flink_faults` (what disturbs it).
Programs of others: `distributed` (engines that run the job), `environment` (virtual environments), `external` (tests
that run in these).
"""
