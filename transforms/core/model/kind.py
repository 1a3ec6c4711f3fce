"""What a model's outputs are: found from its graph and its numbers, or asked for; nothing is guessed.

Rows in [0, 1] that sum to 1 are probabilities whatever the model's last operation is. What the option says must agree
with what the numbers show: no softmax is taken of probabilities.
"""

from __future__ import annotations

import numpy as np

from transforms.core.errors import UsageError
from transforms.core.model.evidence import RANDOM, UNRELATED, Evidence
from transforms.core.model.pictures import FIXED

_BATCH_DEPENDENT = 1e-2
"""Relative difference from which on an output depends on the batch; half precision rounds up to a tenth of that."""

_CONTRADICTED = 1e-2
"""How far outputs of real images may be from probabilities; more than for fixed pictures, which decide."""


def kind_of(evidence: Evidence, option: str) -> tuple[str, str]:
    """Returns what the outputs are, `logits`, `softmax`, `sigmoid` or `values`, and how that is known.

    Args:
        evidence: what the model's outputs for fixed pictures show.
        option: `outputs`, as given.

    Raises:
        UsageError: the outputs do not show what they are, or contradict the option.
    """
    if option != "auto":
        _check_option(evidence, option)
        return option, "as given"
    if evidence.activation == "softmax" or (evidence.count > 1 and evidence.sums_to_one):
        _check_softmax(evidence)
        by = "its last operation" if evidence.activation == "softmax" else "each image's outputs sum to 1"
        return "softmax", by
    if evidence.activation == "sigmoid" and evidence.in_unit_range:
        return "sigmoid", "its last operation"
    _check_sure(evidence)
    return "logits", f"no softmax or sigmoid at its end, and outputs from {evidence.low:.3g} to {evidence.high:.3g}"


def check_usable(evidence: Evidence, pixels: str) -> None:
    """Refuses a model whose outputs are not finite, are random, or depend on the other images of a batch.

    Args:
        evidence: what the model's outputs for fixed pictures show.
        pixels: the option, which decides what the model is fed.

    Raises:
        UsageError: with the reason, and what to do.
    """
    if 2 * evidence.finite < FIXED:
        raise UsageError(
            f"pixels={pixels!r}: the model's outputs are not finite for {FIXED - evidence.finite} of {FIXED} pictures; "
            "is that the input range that it expects?"
        )
    if evidence.difference > RANDOM:
        raise UsageError(
            f"model: it is random: two calls with the same pictures differ by {evidence.difference:.2g} of its largest "
            "output, so that no map would mean anything. An augmentation or dropout layer is active: export the model "
            "for inference, such as with training=False"
        )
    if evidence.batch_difference > _BATCH_DEPENDENT:
        raise UsageError(
            "model: its outputs for a picture depend on the others of the batch, by "
            f"{evidence.batch_difference:.2g} of its largest output. A batch norm takes the batch's own statistics: "
            "export the model for inference, such as with training=False"
        )


def check_agrees(outputs: np.ndarray, kind: str) -> None:
    """Checks the outputs of real images against what the model's outputs were found to be.

    Args:
        outputs: float `[n, classes]`; rows that are not finite are passed over.
        kind: what they are.

    Raises:
        UsageError: they cannot be that.
    """
    if kind not in ("softmax", "sigmoid"):  # others may have any shape
        return
    rows = outputs[np.isfinite(outputs).all(1)].astype(np.float64)
    if not len(rows):
        return
    low, high = float(rows.min()), float(rows.max())
    if low < -_CONTRADICTED or high > 1 + _CONTRADICTED:
        raise UsageError(f"outputs={kind!r}: the model's outputs for images are from {low:.3g} to {high:.3g}")
    sums = rows.sum(1)
    if kind == "softmax" and np.abs(sums - 1).max() > _CONTRADICTED:
        raise UsageError(f"outputs='softmax': the model's outputs for an image sum to {_furthest(sums):.4g}")


def _check_sure(evidence: Evidence) -> None:
    """Raises UsageError with a question, unless outputs that are no probabilities can only be logits."""
    between = f"between {evidence.low:.3g} and {evidence.high:.3g} for {FIXED} pictures"
    if evidence.in_unit_range:
        allowed = "--outputs sigmoid, logits or values" + (" (softmax: they do not sum to 1)" * (evidence.count > 1))
        raise UsageError(
            f"outputs: the model's {_outputs(evidence)} {between}, without a softmax or sigmoid at its end: are they "
            f"probabilities, logits or a regression's values? Give {allowed}"
        )
    if evidence.count == 1:
        raise UsageError(
            f"outputs: the model's single output is {between}: is it a logit or a regression's value? "
            "Give --outputs logits or --outputs values"
        )
    if evidence.sums_to_a_constant and evidence.spread > UNRELATED:
        raise UsageError(
            f"outputs: the model's {_outputs(evidence)} {between}, and always sum to {evidence.high_sum:.4g}: are they "
            "probabilities of another scale, which the model should not multiply, or logits? Give --outputs logits "
            "or --outputs values"
        )


def _check_option(evidence: Evidence, option: str) -> None:
    if option == "softmax":
        _check_softmax(evidence)
    if option == "sigmoid" and not evidence.in_unit_range:
        raise UsageError(
            f"outputs='sigmoid': the model's {_outputs(evidence)} between {evidence.low:.3g} and {evidence.high:.3g} "
            f"for {FIXED} pictures; are they logits? Allowed are auto, logits and values"
        )
    sums = evidence.count > 1 and evidence.sums_to_one
    if option == "sigmoid" and sums and evidence.activation != "sigmoid":
        raise UsageError(
            f"outputs='sigmoid': the model's {_outputs(evidence)} in [0, 1], and sum to 1 for each of {FIXED} "
            "pictures: one of several classes; give --outputs softmax"
        )
    if option == "logits" and (sums or (evidence.activation and evidence.in_unit_range)):
        ends = f"it ends in a {evidence.activation}" if evidence.activation else "they sum to 1 for every picture"
        found = "softmax" if sums else evidence.activation
        raise UsageError(
            f"outputs='logits': the model's {_outputs(evidence)} probabilities, as {ends}; give --outputs {found}, "
            "and --score logit or log_odds to attribute logits"
        )


def _check_softmax(evidence: Evidence) -> None:
    if evidence.count == 1:
        raise UsageError(
            "outputs: a softmax over the model's single output is 1 for every image; export the model with a sigmoid, "
            "or name another of its outputs with --output_name"
        )
    if not evidence.sums_to_one:
        sums = f"from {evidence.low_sum:.4g} to {evidence.high_sum:.4g}"
        raise UsageError(
            f"outputs: the model's {_outputs(evidence)} between {evidence.low:.3g} and {evidence.high:.3g}, with sums "
            f"of {sums} for {FIXED} pictures, so that they are no softmax over classes; give --outputs logits, sigmoid "
            "or values"
        )


def _outputs(evidence: Evidence) -> str:
    return "single output is" if evidence.count == 1 else f"{evidence.count} outputs are"


def _furthest(sums: np.ndarray) -> float:
    return float(sums[np.abs(sums - 1).argmax()])
