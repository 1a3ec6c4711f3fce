"""The rows of one run to findings: which pictures of a class are looked at elsewhere than the rest?

In reading order: `robust` (how far a picture lies from its class), `rates` (how many such pictures are too many),
`tails` (groups that are extreme in one place), `clusters` (groups that differ a little in many cells), `rests` (classes
that rest on a place of their own), `groups` (everything that is looked for).
Imports no other package of the core.
"""
