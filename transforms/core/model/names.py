"""The names of a model's classes, and what is assumed of a list that is not as long as its outputs."""

from __future__ import annotations

from transforms.core.errors import UsageError
from transforms.core.model.options import ModelOptions

_BACKGROUND = "background"
_BACKGROUND_PAIR = (1000, 1001)
_BACKGROUND_ASSUMED = (
    "class_names: 1,000 names for 1,001 outputs: output 0 is taken for a background class (--background)"
)


def class_names(options: ModelOptions, count: int, task: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns one name per class, and what was assumed for that, a sentence each.

    Args:
        options: `class_names`, numbered if there are none, and `background`.
        count: number of outputs.
        task: what the model decides, one of `vocabulary.TASKS`.

    Raises:
        UsageError: there are more or fewer names than classes.
    """
    if task == "dense":
        return (), ()
    names, background = tuple(options.class_names), options.background
    classes = 2 if task == "binary" else count
    if not names:
        return tuple(f"{'output' if task == 'values' else 'class'}_{index}" for index in range(classes)), ()
    one_fewer = task in ("classes", "labels") and len(names) == classes - 1
    if background == "true" and one_fewer:
        return (_BACKGROUND, *names), ()
    if background == "auto" and one_fewer and (len(names), classes) == _BACKGROUND_PAIR:
        return (_BACKGROUND, *names), (_BACKGROUND_ASSUMED,)
    outputs = "one output, so two classes, 0 and 1" if task == "binary" else f"{count} outputs"
    if background == "true":
        raise UsageError(
            f"background: 'true' is for one class name fewer than outputs; there are {len(names)} class names for "
            f"{outputs}"
        )
    if len(names) != classes:
        fewer = "; if output 0 is a background class without a name, set background to true" if one_fewer else ""
        raise UsageError(f"class_names: {len(names)} class names for a model with {outputs}{fewer}")
    return names, ()
