"""The job around the stages: options in, a run directory and an exit code out.

In reading order: `cli` (commands), `config` (every option, checked before any work), `launch` (inputs
and model checked, provenance), `graph` (the pipeline, as an essay), `run` (on a runner, with progress),
`thresholds`, `references`, `names`, `compare` and `verdict` (two runs), `report`, `verify`, `show`, `samples`;
`template` (the options as parameters of a Dataflow template).
Only `graph` and `run` import Beam; nothing here holds numerics.
"""
