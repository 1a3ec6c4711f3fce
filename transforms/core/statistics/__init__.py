"""Stored rows to exact statistics that can be merged in any order.

In reading order: `moments` (exact sums), `histogram` (bounded histograms), `slices` (which rows belong together),
`importance` (the statistics of a slice).
Imports no other package of the core.
"""
