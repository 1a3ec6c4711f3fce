"""Images to explanations.

In reading order: `settings` (how to attribute), `label` (what stored labels say), `target` (which classes), `content`
(what a picture's content decides), `purposes` (which pictures get which maps), `job` (an image, phase by phase),
`ahead` (decoding by threads), `attributor` (decode, predict and integrate, with one loaded model), `faithfulness` (does
the model follow a map?), `randomization` (do maps follow the model?).
Imports `image`, `model` and `path`; no TensorFlow.
"""
