"""The compiler passes: each takes a frozen graph and returns one that computes the same, faster.

In reading order: `frozen` (the graph that passes work on), `nodes` (its nodes, to be rewritten),
`freeze` with `depthwise`, `simplify`, `batch_norm`, `pointwise`, `stem`; `ending`, which only looks; `half`, which
is exact to float16 only, and `randomise`, which computes something else on purpose.
No pass may import apache_beam; one that cannot do its work raises `NotApplicableError`.
"""
