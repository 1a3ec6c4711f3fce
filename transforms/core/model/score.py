"""A model's outputs to one score an image, computed by TensorFlow from tensors, while tracing a graph and afterwards.

probability   p_t: the output of a model that ends in softmax or sigmoid, else softmax(z)_t
logit         z_t: the output of a model that does not end in softmax or sigmoid
log_odds      log p_t − log(1 − p_t), which is z_t − logsumexp of the other classes' z
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError

Score = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Outputs float32 `[batch, classes]` and targets int32 `[batch]` to float32 `[batch]`."""

_TINY = 1e-37


def score_function(score: str, kind: str) -> Score:
    """Returns the function of a score, which takes arrays too.

    Args:
        score: `probability`, `logit`, `log_odds`, or `module:function` naming an operator of tensors.
        kind: what the outputs are: `logits`, `softmax`, `sigmoid` or `values`.

    Raises:
        UsageError: the model has no such score, or there is no such function.
    """
    return on_tensors(_score(score, kind), tf.float32, tf.int32)


def to_probabilities(outputs: tf.Tensor, kind: str) -> tf.Tensor:
    """Returns `outputs` `[batch, classes]` of this kind, tensor or array, as probabilities."""
    return _probabilities(tf.cast(outputs, tf.float32), kind)


def on_tensors(function: Callable[..., tf.Tensor], *dtypes: tf.DType) -> Callable[..., tf.Tensor]:
    """Returns `function` for arrays too: its positional arguments become tensors of these types."""

    def converted(*values: Any, **options: Any) -> tf.Tensor:
        return function(*(tf.cast(value, dtype) for value, dtype in zip(values, dtypes, strict=True)), **options)

    return converted


def _score(score: str, kind: str) -> Score:
    if score == "probability":
        return lambda outputs, targets: _pick(_probabilities(outputs, kind), targets)
    if score == "log_odds":
        return _LOG_ODDS[kind]
    if score == "logit" and kind != "logits":
        raise UsageError(
            f"score='logit': the model ends in {kind}, its logits cannot be reached; allowed are probability, "
            "log_odds, module:function, or another output of the model by its name"
        )
    return _pick if score == "logit" else _operator(score)


def _operator(score: str) -> Score:
    module, _, name = score.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"score={score!r}: no such function: {error}") from error

    def operator(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        result = tf.convert_to_tensor(function(outputs, targets))
        if result.shape.rank != 1 or not result.dtype.is_floating:
            found = f"{result.dtype.name} {result.shape}"
            raise UsageError(f"score={score!r}: expected one number per image [batch], found {found}")
        return tf.cast(result, tf.float32)

    return operator


def _pick(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.gather(values, targets, axis=1, batch_dims=1)


def _probabilities(outputs: tf.Tensor, kind: str) -> tf.Tensor:
    if kind != "logits":
        return outputs
    return tf.sigmoid(outputs) if outputs.shape[1] == 1 else tf.nn.softmax(outputs)


def _others(outputs: tf.Tensor, targets: tf.Tensor, blank: float) -> tf.Tensor:
    """Returns `outputs` with each image's target replaced by `blank`."""
    return tf.where(tf.one_hot(targets, tf.shape(outputs)[1], on_value=True, off_value=False), blank, outputs)


def _log_odds_of_logits(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    if outputs.shape[1] == 1:
        return outputs[:, 0]
    return _pick(outputs, targets) - tf.reduce_logsumexp(_others(outputs, targets, outputs.dtype.min), axis=1)


def _log_odds_of_softmax(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """1 − p_t is the sum of the other classes, which keeps its digits where p_t rounds to one."""
    others = tf.reduce_sum(_others(outputs, targets, 0.0), axis=1)
    return tf.math.log(_pick(outputs, targets) + _TINY) - tf.math.log(others + _TINY)


def _log_odds_of_sigmoid(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    chosen = tf.clip_by_value(_pick(outputs, targets), _TINY, 1.0 - 2.0**-24)
    return tf.math.log(chosen) - tf.math.log1p(-chosen)


_LOG_ODDS = {"logits": _log_odds_of_logits, "softmax": _log_odds_of_softmax, "sigmoid": _log_odds_of_sigmoid}
