"""Images to explanations.

In reading order: `settings` (how to attribute), `label` (what stored labels say), `target` (which classes), `job` (an
image, phase by phase), `attributor` (decode, predict and integrate, with one loaded model), `faithfulness` (does the
model follow a map?), `randomization` (do maps follow the model?).
Imports `image`, `model` and `path`; no TensorFlow.
"""
