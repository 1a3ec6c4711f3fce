"""The numerics: pure functions and small state machines; each file is one idea.

In reading order: `record` (what crosses rooms), `settings` (the options), `decode`, `guard` (in
processes that may crash: `guard_process`) and `baseline` (pixels in), `target` (which classes),
`model_file`, `classifier`, `passes`, `call_options` and `compile` (the model and its gradient
step), `quadrature` and `refinement` (where paths are sampled), `integrate` (many paths in full
batches), `faithfulness` (does the model follow a map?), `attributor` (all of it together),
`randomisation` (do maps follow the model?), `quantize` and `importance` (a map as stored, and what
it says), `histogram`, `exact`, `slices` and `statistics` (many maps), `distance`, `contrast`, `thresholds`,
`drift` and `mix` (two runs).
Nothing here imports Beam or the stages around it; only `model_file`, `classifier`, `compile`,
`call_options`, `accelerate` and `passes` import TensorFlow.
"""
