"""What a model decides, which follows from what its outputs are and how many."""

from __future__ import annotations


def task_of(kind: str, count: int) -> str:
    """Returns one of `vocabulary.TASKS`, but `dense`, which the model's shape alone decides.

    Args:
        kind: what the outputs are: `logits`, `softmax`, `sigmoid` or `values`.
        count: number of the model's outputs; a single logit or sigmoid decides between two classes.
    """
    if kind == "values":
        return "values"
    if count == 1:
        return "binary"
    return "labels" if kind == "sigmoid" else "classes"
