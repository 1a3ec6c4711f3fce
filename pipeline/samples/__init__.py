"""The samples: a small real model and image shards, built from installed packages alone, without downloads.

In reading order: `photographs` (the pictures, and seeded crops of them), `shards` (image shards in every
input format), `legacy_checkpoint` (weights without PyTorch), `lite0` (the model; the only module that imports
TensorFlow), `cache` (all of them in one folder, each built once).
"""
