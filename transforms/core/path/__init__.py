"""Which gradients along a path are evaluated, and their sum.

In reading order: `quadrature` (nodes and weights), `rule` (what decides where a path is sampled), `fixed`,
`adaptive` and `shifted` (the three kinds of rules), `integrate` (many paths in full batches of the compiled step).
Imports `model` alone of the core's packages, and no TensorFlow.
"""
