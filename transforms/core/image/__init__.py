"""Encoded bytes to pixels, in a process that may crash.

In reading order: `decode` (bytes to float32 pixels), `resize` (the size that the model takes), `guard` and
`guard_process` (decoding in a process that a hostile image may take down), `baseline` (the images that paths start
from).
Imports no other package of the core, and nothing large: guard processes must start in a fraction of a second.
"""
