"""One map to numbers, stored bytes and pictures.

In reading order: `importance` (what a map says, as numbers), `quantize` (a map as it is stored), `render` (a map as a
picture).
Imports no other package of the core.
"""
