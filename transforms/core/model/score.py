"""A model's outputs to one score an image, computed by TensorFlow from tensors, while tracing a graph and afterwards.

probability   p_t: the output of a model that ends in softmax or sigmoid, else softmax(z)_t
logit         z_t: the output of a model that does not end in softmax or sigmoid, else what these are taken of
log_odds      log p_t − log(1 − p_t), which is z_t − logsumexp of the other classes' z

A single logit z or sigmoid p decides between two classes. Its outputs have two columns, [−z, z] or [1 − p, p], so that
one class's map is the negative of the other's. The values of a regression are scores themselves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.outputs import Packing

Score = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Outputs float32 `[batch, classes]` and targets int32 `[batch]` to float32 `[batch]`."""

_TINY = 1e-37


def score_function(score: str, kind: str, task: str = "classes", packing: Packing | None = None) -> Score:
    """Returns the function of a score, which takes arrays too.

    Args:
        score: `probability`, `logit`, `log_odds`, or `module:function` naming an operator of tensors. Of `values`,
            `probability`, the default, is the value itself, and the others have no meaning.
        kind: what the numbers are of which the score is made: `logits`, `softmax`, `sigmoid` or `values`.
        task: what the model decides.
        packing: how several outputs are packed, which a function of the user's gets by name.

    Raises:
        UsageError: the model has no such score, or there is no such function.
    """
    found = _operator(score, packing) if ":" in score else _score(score, kind, task)
    return on_tensors(found, tf.float32, tf.int32)


def to_probabilities(outputs: tf.Tensor, kind: str, task: str = "classes") -> tf.Tensor:
    """Returns `outputs` `[batch, classes]` of this kind, tensor or array, as probabilities; `values` as they are."""
    return _probabilities(tf.cast(outputs, tf.float32), kind, task)


def two_columns(outputs: tf.Tensor, kind: str) -> tf.Tensor:
    """Returns a single output `[batch, 1]`, a logit or a sigmoid, as those of both classes, `[batch, 2]`."""
    return tf.concat([1.0 - outputs if kind == "sigmoid" else -outputs, outputs], axis=1)


def on_tensors(function: Callable[..., tf.Tensor], *dtypes: tf.DType) -> Callable[..., tf.Tensor]:
    """Returns `function` for arrays too: its positional arguments become tensors of these types."""

    def converted(*values: Any, **options: Any) -> tf.Tensor:
        return function(*(tf.cast(value, dtype) for value, dtype in zip(values, dtypes, strict=True)), **options)

    return converted


def _score(score: str, kind: str, task: str) -> Score:
    if kind == "values":
        if score == "probability":
            return _pick
        raise UsageError(f"score={score!r}: a regression's value is the score itself; leave out score")
    if score == "probability" and task == "binary" and kind == "logits":
        return _probability_of_one_logit
    if score == "probability":
        return lambda outputs, targets: _pick(_probabilities(outputs, kind, task), targets)
    if score == "log_odds":
        return (_LOG_ODDS_OF_TWO if task == "binary" else _LOG_ODDS)[kind]
    return _pick


def _operator(score: str, packing: Packing | None) -> Score:
    module, _, name = score.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"score={score!r}: no such function: {error}") from error

    def operator(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        result = tf.convert_to_tensor(function(packing.unpack(outputs) if packing else outputs, targets))
        if result.shape.rank != 1 or not result.dtype.is_floating:
            found = f"{result.dtype.name} {result.shape}"
            raise UsageError(f"score={score!r}: expected one number per image [batch], found {found}")
        return tf.cast(result, tf.float32)

    return operator


def _pick(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.gather(values, targets, axis=1, batch_dims=1)


def _probabilities(outputs: tf.Tensor, kind: str, task: str) -> tf.Tensor:
    if kind != "logits":
        return outputs
    return tf.sigmoid(outputs) if task == "binary" else tf.nn.softmax(outputs)


def _others(outputs: tf.Tensor, targets: tf.Tensor, blank: float) -> tf.Tensor:
    """Returns `outputs` with each image's target replaced by `blank`."""
    return tf.where(tf.one_hot(targets, tf.shape(outputs)[1], on_value=True, off_value=False), blank, outputs)


def _log_odds_of_logits(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return _pick(outputs, targets) - tf.reduce_logsumexp(_others(outputs, targets, outputs.dtype.min), axis=1)


def _log_odds_of_softmax(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """1 − p_t is the sum of the other classes, which keeps its digits where p_t rounds to one."""
    others = tf.reduce_sum(_others(outputs, targets, 0.0), axis=1)
    return tf.math.log(_pick(outputs, targets) + _TINY) - tf.math.log(others + _TINY)


def _log_odds_of_sigmoid(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    chosen = tf.clip_by_value(_pick(outputs, targets), _TINY, 1.0 - 2.0**-24)
    return tf.math.log(chosen) - tf.math.log1p(-chosen)


def _probability_of_one_logit(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The second class's, or 1 less it: the sigmoids of −z and z have slopes that differ by rounding."""
    second = tf.sigmoid(outputs[:, 1])
    return tf.where(targets == 1, second, 1.0 - second)


def _log_odds_of_one_sigmoid(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The second class's odds, or their negative: those of 1 − p differ by rounding."""
    odds = _log_odds_of_sigmoid(outputs, tf.ones_like(targets))
    return tf.where(targets == 1, odds, -odds)


_LOG_ODDS = {"logits": _log_odds_of_logits, "softmax": _log_odds_of_softmax, "sigmoid": _log_odds_of_sigmoid}
_LOG_ODDS_OF_TWO = {"logits": _pick, "sigmoid": _log_odds_of_one_sigmoid}
