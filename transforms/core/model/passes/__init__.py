"""The compiler passes: each takes a frozen graph and returns one that computes the same, faster.

In reading order: `frozen` (the graph that passes transform), `nodes` (its nodes, to be rewritten),
`freeze` with `depthwise`, `simplify`, `batch_norm`, `pointwise`, `stem`; `half`, which is exact only to float16, and
`randomize`, which deliberately computes something else. No passes of the step are `logits`, which looks at the graph's
end, `input_scale`, which looks at its beginning, and `extend`, which adds to the end or cuts it off.
No pass may import apache_beam; a pass that does not apply to a model raises `NotApplicableError`.
"""
