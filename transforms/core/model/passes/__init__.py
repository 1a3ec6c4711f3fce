"""The compiler passes: each takes a frozen graph and returns one that computes the same, faster.

In reading order: `frozen` (the graph that passes transform), `nodes` (its nodes, to be rewritten),
`freeze` with `depthwise`, `simplify`, `batch_norm`, `pointwise`, `stem`; `final_activation`, which changes nothing;
`half`, which is exact only to float16, and `randomize`, which deliberately computes something else.
No pass may import apache_beam; a pass that does not apply to a model raises `NotApplicableError`.
"""
