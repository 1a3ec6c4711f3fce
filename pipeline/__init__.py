"""The command line and the job: from options to a run directory and an exit code.

In reading order: `cli` (commands), `exit_code`, `command_line` (the parser), `config` (every option, checked before any
work), `effort` (defaults by what a run is for), `suggest` (corrections of misspelled names), `beam_flags` (the flags of
Beam), `launch` (checks of inputs and model, provenance), `check` (what a run would find and take), `graph` (the stages
of the pipeline), `run` (on a runner, with progress), `names` (display names of metrics and slices), `audit` (two or
more runs), `report`, `verify`, `show`, `samples`; `template` (the options as parameters of a Dataflow template).
Only `graph`, `run` and, if there are flags for it, `beam_flags` import Beam; nothing here holds numerics.
"""

import os

# Set before NumPy loads. Threads already share the work; those of products of small matrices mostly wait for each
# other, and split sums by the number of processors, so that last digits would differ between machines.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
