"""A model file to the compiled gradient step.

In reading order: `file` (a SavedModel, Keras file or TF-Hub handle to one function; `local_copy`, `digest`), `score`
(outputs to one number an image), `classifier` (both together), `passes` (rewrites of the frozen graph), `step` (the
gradient of a score along straight paths, in full batches; `sharing`), `batch_size` (the fastest size, or a smaller
one if memory runs out), `accelerate` (what is not exact to rounding).
Imports no other package of the core; only this package imports TensorFlow.
"""
