"""An attribution map → numbers, stored bytes and pictures.

In reading order: `importance` (summary numbers of a map), `quantize` (a map as it is stored), `render` (a map as a
picture).
Imports no other package of the core.
"""
