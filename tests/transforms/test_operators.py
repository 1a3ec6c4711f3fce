"""Scores of dense outputs, against the same sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from transforms.operators import box_score, mean_logit_over_mask

NONE = tf.zeros([2], tf.int32)
LOGITS = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


def test_mean_logit_weighs_pixels_by_probability():
    exponentials = np.exp(LOGITS.astype(float))
    weights = (exponentials / exponentials.sum(3, keepdims=True))[..., 2]
    wanted = (weights * LOGITS[..., 2]).sum((1, 2)) / weights.sum((1, 2))
    found = mean_logit_over_mask(2)(tf.constant(LOGITS), NONE)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)  # float32
    assert not np.allclose(found, LOGITS[..., 2].mean((1, 2)), rtol=0.1)


def test_mean_logit_over_a_mask_that_is_given():
    mask = np.zeros((3, 4))
    mask[1, 2:] = 1
    found = mean_logit_over_mask(4, mask)(tf.constant(LOGITS), NONE)
    np.testing.assert_allclose(found, LOGITS[:, 1, 2:, 4].mean(1), rtol=1e-5)  # float32


def test_box_score_is_overlap_times_score():
    boxes = tf.constant([[[0, 0, 2, 2], [1, 0, 3, 2]], [[5, 5, 6, 6], [0, 0, 2, 4]]], tf.float32)
    scores = tf.constant([[[0.1, 0.9], [0.2, 0.4]], [[0.3, 1.0], [0.4, 0.5]]])
    found = box_score(1, (0, 0, 2, 2))({"boxes": boxes, "scores": scores}, NONE)
    np.testing.assert_allclose(found, [0.9, 0.5 * 4 / 8], rtol=1e-6)
    with pytest.raises(ValueError, match="has no output boxes; it has more, scores"):
        box_score(1, (0, 0, 2, 2))({"more": boxes, "scores": scores}, NONE)


@pytest.mark.parametrize("box", [(0, 0, 1), (1, 0, 1, 2), (0, 3, 1, 2)])
def test_what_is_no_box_is_refused(box):
    with pytest.raises(ValueError, match="opposite corners"):
        box_score(0, box)


def test_a_class_that_the_outputs_lack_is_refused():
    with pytest.raises(ValueError, match="class 5 is not among the 5"):
        mean_logit_over_mask(5)(tf.constant(LOGITS), NONE)
    with pytest.raises(ValueError, match="from 0"):
        mean_logit_over_mask(-1)
