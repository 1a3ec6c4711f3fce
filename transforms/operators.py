"""Scores of dense outputs, for `--score module:function`: a class's mean logit over its mask, and a box's score.

Each function here returns a score for a class, a place or a box of yours. Name it in a module of your own, and
give `--score my_scores:road --targets none`:

    from transforms import operators

    road = operators.mean_logit_over_mask(7)
    person = operators.box_score(0, (0.2, 0.1, 0.9, 0.4))

They follow Xplique's operators for semantic segmentation and object detection (Fel et al., "Xplique: A Deep Learning
Explainability Toolbox", 2022), with one difference: all are continuous in the outputs, as Integrated Gradients needs,
whose maps add up to the change of a score only if it does not jump along the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

Operator = Callable[[Any, tf.Tensor], tf.Tensor]
"""Raw outputs, or all named ones by name, and targets int32 `[batch]` → one number per image, float32 `[batch]`."""

_TINY = 1e-12


def mean_logit_over_mask(index: int, mask: Sequence[Sequence[float]] | None = None) -> Operator:
    """Returns the score of a class of a segmentation model: the mean of its logits over a mask.

    Args:
        index: of the class, on the last axis of the outputs `[batch, height, width, classes]`, which are logits.
        mask: `[height, width]`, the weight of each pixel; None weights each by the class's probability there, a mask
            that changes with the image without a jump.
    """
    if index < 0:
        raise ValueError(f"index: {index} is not a class index, from 0")

    def score(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        _check_class(outputs, index)
        logits = outputs[..., index]
        weights = tf.nn.softmax(outputs)[..., index] if mask is None else tf.constant(mask, outputs.dtype)[None]
        weights = tf.broadcast_to(weights, tf.shape(logits))
        return tf.reduce_sum(weights * logits, axis=(1, 2)) / (tf.reduce_sum(weights, axis=(1, 2)) + _TINY)

    return score


def box_score(index: int, box: Sequence[float], boxes: str = "boxes", scores: str = "scores") -> Operator:
    """Returns the score of a box of a detection model: the largest over its boxes of overlap times the class's score.

    The overlap is the intersection over the union with `box`.

    Args:
        index: of the class, on the last axis of the scores.
        box: two opposite corners in the order and units of the model's boxes, the smaller coordinates first: such as
            top, left, bottom, right.
        boxes: name of the output of boxes, `[batch, boxes, 4]`.
        scores: name of the output of scores, `[batch, boxes, classes]`.
    """
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"box: {tuple(box)} is not two opposite corners, the smaller coordinates first")

    def score(outputs: Mapping[str, tf.Tensor], targets: tf.Tensor) -> tf.Tensor:
        if missing := [name for name in (boxes, scores) if name not in outputs]:
            raise ValueError(f"the model has no output {', '.join(missing)}; it has {', '.join(outputs)}")
        _check_class(outputs[scores], index)
        return tf.reduce_max(_overlap(outputs[boxes], box) * outputs[scores][..., index], axis=1)

    return score


def _overlap(boxes: tf.Tensor, box: Sequence[float]) -> tf.Tensor:
    """Returns the intersection over the union of each of `boxes` `[batch, boxes, 4]` with `box`, `[batch, boxes]`."""
    wanted = tf.constant(box, boxes.dtype)
    sides = tf.minimum(boxes[..., 2:], wanted[2:]) - tf.maximum(boxes[..., :2], wanted[:2])
    shared = tf.reduce_prod(tf.nn.relu(sides), axis=-1)
    areas = tf.reduce_prod(tf.nn.relu(boxes[..., 2:] - boxes[..., :2]), axis=-1)
    return shared / (areas + tf.reduce_prod(wanted[2:] - wanted[:2]) - shared)


def _check_class(outputs: tf.Tensor, index: int) -> None:
    classes = outputs.shape[-1]
    if classes is not None and not 0 <= index < classes:
        raise ValueError(f"index: class {index} is not among the {classes} of the outputs {outputs.shape}")
