"""Thin Beam stages around pure numerics: as little logic as possible here.

In reading order: `core` (the numerics; no Beam), `formats` (shards to chunks to images), `storage`
(files by URI), `store` (Parquet, manifest), `rows` (explanation to stored row), `worker` (one model a
process), `sanity` (the check of the model), `plan`, `attribute`, `summarize`, `finish` (the stages).
Nothing here imports `pipeline`.
"""

__version__ = "0.1.0"
