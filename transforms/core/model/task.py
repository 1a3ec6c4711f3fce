"""What a model decides, which follows from what its outputs are and how many."""

from __future__ import annotations


def task_of(kind: str, classes: int) -> str:
    """Returns one of `vocabulary.TASKS`.

    Args:
        kind: what the outputs are: `logits`, `softmax`, `sigmoid` or `values`.
        classes: number of classes.
    """
    if kind == "values":
        return "values"
    return "labels" if kind == "sigmoid" and classes > 1 else "classes"
