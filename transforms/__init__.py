"""Thin Beam stages around pure numerics: as little logic as possible here.

In reading order: `core` (the numerics; no Beam), `formats` (shards to chunks to images), `storage` (files by URI),
`text` (as people see it), `process` (what a process has only one of), `store` (a run's files), `worker` (one model a
process), `survey` (what an input holds, within seconds), `preflight` (what predictions for some pictures show),
`check_model` (the same of a run, and do maps depend on the model?), `plan`, `attribute`, `summarize`, `finish` (the
stages), `notebook` (the same for arrays, without Beam).
Nothing here imports `pipeline`.
"""

__version__ = "0.2.0"
