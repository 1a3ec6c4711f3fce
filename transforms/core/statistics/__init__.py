"""Stored rows to exact statistics that can be merged in any order.

In reading order: `moments` (exact sums), `histogram` (bounded histograms), `slices` (which rows belong together),
`statistic` (what can be kept of them), `importance` (what is, slice by slice).
Imports no other package of the core.
"""
