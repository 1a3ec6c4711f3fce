"""The job around the stages: options in, a run directory and an exit code out.

In reading order: `cli` (commands), `exit_code`, `command_line` (the parser), `config` (every option, checked before
any work), `suggest` (what a misspelt name stands for), `beam_flags` (flags that are Beam's), `launch` (inputs and
model checked, provenance), `graph` (the pipeline, as an essay), `run` (on a runner, with progress), `names` (what
people call metrics and slices), `audit` (two or more runs), `report`, `verify`, `show`, `samples`; `template` (the
options as parameters of a Dataflow template).
Only `graph`, `run` and, if there are flags for it, `beam_flags` import Beam; nothing here holds numerics.
"""
