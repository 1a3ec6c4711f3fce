"""The embedded default: a small real model and sample shards, built from installed packages alone.

In reading order: `photographs` (the pictures, and seeded crops of them), `shards` (image shards in every
input format), `legacy_checkpoint` (weights without PyTorch), `lite0` (the model; the only one that imports
TensorFlow), `cache` (all of it once, in one folder).
"""
