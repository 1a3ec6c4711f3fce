"""Implementations of integrated gradients that `peers.py` compares, each in a process of its own.

`process` is what all have in common: a contender loads once, then answers requests on its standard
input. Ours: `attributor` (images in memory), `job` (`ig-audit run`). Peers: `xplique`, `tutorial`,
`saliency`, `captum`; these import nothing of ig-audit and run in an environment of their own.
"""
