"""ModelOptions: what the explained function is, declared once, checked without a model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from transforms.core.errors import UsageError
from transforms.core.option import Options, option, problems_of
from transforms.core.vocabulary import (
    BACKGROUNDS,
    LAYOUTS,
    MAX_CLASSES,
    MAX_INPUT_CHANNELS,
    MAX_INPUT_SIDE,
    OUTPUTS,
    PIXELS,
    SCORES,
)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """The options of the function from raw pixels to a score; how it is attributed is for `Settings`.

    In Python, `class_names` may be a sequence too: `ModelOptions(pixels="signed", class_names=["cat", "dog"])`.

    Raises:
        UsageError: an option has a value that is not allowed, one line each.
        TypeError: there is no such option.
    """

    input_size: str = option(
        "",
        "the model's input size, if the model leaves it open; HEIGHTxWIDTHxCHANNELS if these are open too (3 else)",
        group="model",
        metavar="HEIGHTxWIDTH",
    )
    layout: str = option(
        "auto", "where the channels are in the model's input, if its shape leaves that open", LAYOUTS, group="model"
    )
    input_name: str = option("", "name of the model's input that is the image, if several could be", group="model")
    constants: tuple[str, ...] = option(
        (),
        "values of the model's other inputs, the same for each image: NAME=VALUE, or NAME=V1,V2,… for a vector",
        group="model",
        metavar="NAME=VALUE",
    )
    custom_objects: tuple[str, ...] = option(
        (),
        "importable modules with the layers and functions of your own that a Keras file needs; run as trusted code",
        group="model",
        metavar="MODULE",
    )
    pixels: str = option(
        "unit",
        "input range the model expects: [0, 1]; [-1, 1]; [0, 255]; less ImageNet's mean, over its deviation; BGR less "
        "that mean",
        PIXELS,
        group="model",
    )
    signature: str = option(
        "", "signature of the SavedModel to call (default: the model itself, else serving_default)", group="model"
    )
    output_name: str = option("", "name of the model's output to explain, if it has several", group="model")
    outputs: str = option(
        "auto",
        "what the model puts out: logits, probabilities by softmax or by sigmoid, or the values of a regression",
        OUTPUTS,
        group="model",
    )
    layer: str = option(
        "",
        "layer or tensor that is explained in place of the output, by its name, or by its index for a Keras model; "
        "predictions stay those of the output",
        group="attribution",
        metavar="NAME",
    )
    score: str = option(
        "probability",
        f"what is attributed: {', '.join(SCORES)}, or a function of yours as module:function",
        group="attribution",
    )
    class_names: str | tuple[str, ...] = option(
        "", "text file with one class name a line", group="model", metavar="URI"
    )

    background: str = option(
        "auto",
        "whether the model's output 0 is a background class that class_names leaves out; auto: only of 1,001 outputs "
        "with 1,000 names",
        BACKGROUNDS,
        group="model",
        metavar="auto|true|false",
    )
    label_offset: int = option(
        0,
        "added to a label that is a number, for labels counted from another start",
        low=-MAX_CLASSES,
        high=MAX_CLASSES,
        group="input",
    )

    def __post_init__(self) -> None:
        """Makes a tuple of class names in any sequence, and raises UsageError if an option cannot be used."""
        names = self.class_names
        if isinstance(names, os.PathLike):
            object.__setattr__(self, "class_names", os.fspath(names))
        elif isinstance(names, Iterable) and not isinstance(names, str | bytes):
            object.__setattr__(self, "class_names", tuple(names))
        for name in ("constants", "custom_objects"):
            if isinstance(given := getattr(self, name), str | list):
                object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        super().__post_init__()

    def problems(self) -> list[str]:
        """Returns what is wrong with these options, one line an option; empty if nothing is."""
        found = problems_of(self)
        wrong = {line.partition(":")[0] for line in found}
        if "input_size" not in wrong:
            try:
                self.size()
            except UsageError as error:
                found.append(str(error))
        if "constants" not in wrong:
            try:
                self.constant_values()
            except UsageError as error:
                found.append(str(error))
        if "custom_objects" not in wrong:
            found += [
                f"custom_objects: {name!r} is not the name of a module, like my_package.layers"
                for name in self.custom_objects
                if not all(part.isidentifier() for part in name.split("."))
            ]
        if "score" not in wrong and self.score not in SCORES and not _names_function(self.score):
            found.append(f"score: {self.score!r} is not one of {', '.join(SCORES)}, or module:function")
        if self.background == "true" and not wrong.intersection(("background", "class_names")) and not self.class_names:
            found.append("background: 'true' is not for a model without class_names, which it says something of")
        return found

    def size(self) -> tuple[int, int] | None:
        """Returns (height, width) of `input_size`, or None if the model is to say.

        Raises:
            UsageError: `input_size` is not HEIGHTxWIDTH.
        """
        sizes = self._sizes()
        return (sizes[0], sizes[1]) if sizes else None

    def channels(self) -> int | None:
        """Returns the channels of `input_size`, or None if it has none: the model is to say.

        Raises:
            UsageError: `input_size` is not HEIGHTxWIDTH.
        """
        return self._sizes()[2] if len(self._sizes()) > 2 else None

    def constant_values(self) -> dict[str, str]:
        """Returns the text of each of the `constants` by the name of its input.

        Raises:
            UsageError: one is not NAME=VALUE, or a name is given twice.
        """
        found: dict[str, str] = {}
        for text in self.constants:
            name, equals, value = text.partition("=")
            if not (name and equals and value):
                raise UsageError(f"constants: {text!r} is not NAME=VALUE, like temperature=1.0")
            if name in found:
                raise UsageError(f"constants: {name!r} is given twice")
            found[name] = value
        return found

    def _sizes(self) -> list[int]:
        sides = self.input_size.split("x") if self.input_size else []
        limits = (MAX_INPUT_SIDE, MAX_INPUT_SIDE, MAX_INPUT_CHANNELS)[: len(sides)]
        if len(sides) not in (0, 2, 3) or not all(
            side.isdecimal() and 0 < int(side) <= limit for side, limit in zip(sides, limits, strict=False)
        ):
            raise UsageError(f"input_size: {self.input_size!r} is not HEIGHTxWIDTH, like 224x224")
        return [int(side) for side in sides]


def _names_function(text: str) -> bool:
    module, colon, function = text.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))
