"""A model to the compiled gradient step.

In reading order: `options` (what the function is), `file` (a SavedModel, Keras file, TF-Hub handle or model in memory
to one function; `local_copy`, `digest`), `input` (what it is fed), `outputs` and `task` (what it puts out and decides),
`score` (outputs to one number an image), `classifier` (all together),
`passes` (rewrites of the frozen graph), `step_batch` and `step` (the gradient of a score along straight paths, in full
batches; `sharing`), `batch_size` (the fastest size, or a smaller one if memory runs out), `accelerate` (what is not
exact to rounding).
Imports no other package of the core; only this package imports TensorFlow.
"""
