"""The rows of two runs to a judgement: has what the model looks at changed?

In reading order: `distance` (how far apart two distributions are), `contrast` (reference against candidate, class by
class), `places` (where in a picture attribution may lie), `tails` (few pictures that look elsewhere), `power` (which
change would have been noticed), `thresholds` (what counts as a change), `trainings` (is one more training like those
that are known?), `slice_audit` (a judgement), `judge` (slice by slice), `pair_contrast` and `pairs` (pictures that
come again, one by one), `class_mix` (have the classes' shares changed?), `evidence` (a night's tails), `onset` (when
a change began), `monitor` (night after night).
Imports `statistics` alone of the core's packages.
"""
