"""ModelOptions and Settings: checked when made, each option in its place."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions


@pytest.mark.parametrize(
    ("kind", "name", "value", "allowed"),
    [
        (ModelOptions, "pixels", "half", "one of unit, signed, byte, imagenet, caffe"),
        (ModelOptions, "score", "entropy", "one of probability, logit, log_odds, or module:function"),
        (ModelOptions, "input_size", "224", "HEIGHTxWIDTH, like 224x224"),
        (ModelOptions, "input_size", "8x8x0", "HEIGHTxWIDTH, like 224x224"),
        (ModelOptions, "input_size", 224, "text"),
        (ModelOptions, "layout", "first", "one of auto, channels_last, channels_first"),
        (ModelOptions, "score", None, "text"),
        (ModelOptions, "class_names", 7, "text or a tuple"),
        (ModelOptions, "background", "yes", "one of auto, true, false"),
        (ModelOptions, "background", "true", ""),
        (ModelOptions, "label_offset", 0.5, "a whole number"),
        (ModelOptions, "class_names", ["a", 1], "all text"),
        (ModelOptions, "class_names", [b"a"], "all text"),
        (Settings, "rule", "romberg", "one of adaptive, midpoint"),
        (Settings, "targets", "best", ""),
        (Settings, "targets", 3, "text"),
        (Settings, "baseline", "green", ""),
        (Settings, "tolerance", 0, "a number of at least 1e-06"),
        (Settings, "tolerance", "0.1", "a number"),
        (Settings, "steps", 2.5, "a whole number or None"),
        (Settings, "max_steps", True, "a whole number or None"),
        (Settings, "xla", 1, "True or False"),
        (Settings, "xla", "no", "True or False"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(kind: Any, name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=name) as raised:
        kind(**{name: value})
    shown = tuple(value) if isinstance(value, list) else value
    assert str(raised.value).startswith(f"{name}: {shown!r} is not {allowed}")
    assert "\n" not in str(raised.value)


def test_every_problem_is_named() -> None:
    with pytest.raises(ValueError) as raised:
        Settings(rule="romberg", targets="best", dtype=5)
    assert sorted(line.partition(":")[0] for line in str(raised.value).splitlines()) == ["dtype", "rule", "targets"]


def test_values_that_are_allowed_are_kept() -> None:
    settings = Settings(tolerance=1, steps=None, max_steps=np.int64(40), xla=True)
    assert (settings.tolerance, settings.max_steps, settings.xla) == (1, 40, True)
    assert ModelOptions(score="my_module.scores:margin", input_size="8x6").size() == (8, 6)


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), np.array(["a", "b"]), iter("ab")])
def test_class_names_may_be_any_sequence(names: Any) -> None:
    options = ModelOptions(class_names=names)
    assert options == ModelOptions(class_names=("a", "b"))
    assert hash(options) == hash(pickle.loads(pickle.dumps(options)))


def test_class_names_may_be_a_path() -> None:
    assert ModelOptions(class_names=Path("labels.txt")).class_names == "labels.txt"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelOptions)])
def test_an_option_of_the_model_is_sent_there(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} is an option of ModelOptions, not of Settings$"):
        Settings(**{name: "x"})
    with pytest.raises(TypeError, match=f"^{name} is an option of ModelOptions, not of Settings$"):
        dataclasses.replace(Settings(), **{name: "x"})


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings)])
def test_an_option_of_the_attribution_is_sent_there(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} is an option of Settings, not of ModelOptions$"):
        ModelOptions(**{name: "x"})


@pytest.mark.parametrize("kind", [ModelOptions, Settings])
def test_what_is_no_option_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        kind(colour="red")


def test_both_have_different_options() -> None:
    model, settings = ({field.name for field in dataclasses.fields(kind)} for kind in (ModelOptions, Settings))
    assert model == {
        *("pixels", "score", "signature", "output_name", "outputs", "layer", "input_size", "class_names"),
        *("background", "label_offset", "layout", "input_name", "constants", "custom_objects"),
    }
    assert not model & settings


@pytest.mark.parametrize(
    ("changed", "allowed"), [({"channels": "sum"}, "'all'"), ({"dtype": "int8"}, "'float16'"), ({"grid": 16}, "8")]
)
def test_what_shapes_stored_rows_alone_is_refused_by_who_stores_none(changed: dict[str, Any], allowed: str) -> None:
    Settings().check_nothing_stored()
    Settings(gradient=True, resize="crop", faithfulness=0).check_nothing_stored()
    (name,) = changed
    with pytest.raises(ValueError, match=f"^{name}: .* only the default is allowed: {allowed}$"):
        Settings(**changed).check_nothing_stored()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("constants", ("temperature",), "constants: 'temperature' is not NAME=VALUE, like temperature=1.0"),
        ("constants", ("a=1", "a=2"), "constants: 'a' is given twice"),
        ("custom_objects", ("layers.py:Scale",), "custom_objects: 'layers.py:Scale' is not the name of a module"),
    ],
)
def test_what_is_malformed_is_refused_before_a_model_is_loaded(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        ModelOptions(**{name: value})


def test_one_or_several_texts_are_a_tuple() -> None:
    assert ModelOptions(constants="a=1").constant_values() == {"a": "1"}
    assert ModelOptions(constants=["a=1", "b=2,3"]).constant_values() == {"a": "1", "b": "2,3"}
    assert ModelOptions(custom_objects="my_package.layers").custom_objects == ("my_package.layers",)
    assert (ModelOptions(input_size="8x6x1").size(), ModelOptions(input_size="8x6x1").channels()) == ((8, 6), 1)
