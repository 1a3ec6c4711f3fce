"""One stored row to a picture.

In reading order: `draw` (finds the row and writes the PNG), `pictures` (the kinds of pictures). Needs neither the
model nor the source image.
"""
