"""The rows of two runs to a judgement: has what the model looks at changed?

In reading order: `distance` (how far apart two distributions are), `contrast` (reference against candidate, class by
class), `thresholds` (what counts as a change), `trainings` (is one more training like those that are known?),
`judge` (slice by slice), `pair_contrast` and `pairs` (pictures that come again, one by one), `class_mix` (have the
classes' shares changed?).
Imports `statistics` alone of the core's packages.
"""
