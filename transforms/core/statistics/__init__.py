"""Stored rows to exact statistics that can be merged in any order.

In reading order: `words` (integers of any size), `moments` and `joint` (exact sums), `histogram` (bounded histograms),
`slices` (which rows belong together), `interval` (how well a mean is known), `corrected` (means of what few steps
bias), `statistic` (what can be kept of rows), `derived` (what follows from it), `importance` (what is kept of slices).
Imports no other package of the core.
"""
