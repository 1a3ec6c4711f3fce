"""A model to the compiled gradient step.

In reading order: `options` (what the function is), `file` (a SavedModel, Keras file, TF-Hub handle or model in memory
to one function, `opened`; `saved_model` with `encoded`, `keras_file`, `entry`, `local_copy`, `digest`), `input` (what
it is fed; `scalings`, `integer`, `inner`, `fixed_batch`), `outputs` (what it puts out), `evidence` (what its outputs
for fixed `pictures` show, kept by `evidence_cache`), `kind`, `task`, `names` and `facts` (what follows from that),
`layers` and `explained` (logits or a layer in place of the outputs), `score` (outputs to one number an image),
`classifier` (all together), `named_layers` and `other_inputs` (for checks before a run), `passes` (rewrites of the
frozen graph), `step_batch` and `step` (the gradient of a score along straight paths, in full batches; `sharing`),
`batch_size` (a smaller one if memory runs out), `calibration` (the passes and batches that are fastest on a device),
`accelerate` (what is not exact to rounding). What was learned of a model is kept for its next start: `model_cache`
(where; `entry_file`, `cache_key`), `known_model` (what a launcher needs), `known_classifier`, `stored_graphs`, `kept`
and `known_step` (a classifier and its compiled step from there, checked by a `reference`).
Imports no other package of the core; only this package imports TensorFlow.
"""

import os
import sys

if "keras" not in sys.modules:  # which importing TensorFlow may import
    os.environ["KERAS_BACKEND"] = "tensorflow"
