"""Encoded bytes → pixels, in a process that may crash.

In reading order: `decoding` (the choices that hold for a run), `decode` (bytes to float32 pixels), which calls
`identify` (what the bytes are), `arrays`, `tiff` and `png` (what Pillow does not read), `bands` (values and channels)
and `resize` (to the size that the model expects); `guard` and `guard_process` (decoding in a process that a hostile
image may crash), `baseline` (the images from which paths start).
Imports no other package of the core, and nothing large: guard processes must start in a fraction of a second.
"""
