"""A start of a known model: the same bits without the model's files, and the model itself if anything is wrong."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import fused_module
from tests.saved_models import save, smooth
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier as classifiers
from transforms.core.model import known_classifier
from transforms.core.model.entry_file import pack, unpack
from transforms.core.model.known_classifier import FIRST
from transforms.core.model.model_cache import ClosedCache, FolderCache
from transforms.core.model.options import ModelOptions
from transforms.core.model.pictures import natural_pictures
from transforms.core.record import Explanation

SIZE = 8
OPTIONS = ModelOptions()


@pytest.fixture
def cache(tmp_path) -> FolderCache:
    return FolderCache.at(str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path) -> str:
    return smooth(tmp_path / "net", size=SIZE)


def start(
    model: str, cache: Any, options: ModelOptions = OPTIONS, **settings: Any
) -> tuple[Attributor, list[Explanation]]:
    """Returns the attributor of a start, and what it explains."""
    found = known_classifier.load(model, options, cache)
    attributor = Attributor(found, Settings(rule="midpoint", steps=4, **settings), batch_size=4)
    attributor.warm_up()
    return attributor, attributor.explain(natural_pictures(found.input_shape, 3))


def reason(attributor: Attributor) -> str | None:
    """Returns why what was kept is not used; empty if it is, None if nothing is said of it."""
    return attributor.model_cache.reason if attributor.model_cache else None


def bits(explanations: list[Explanation]) -> list[bytes]:
    maps = [attribution.values.tobytes() for each in explanations for attribution in each.attributions]
    scores = [repr(attribution.score).encode() for each in explanations for attribution in each.attributions]
    return [*maps, *scores, *(repr(each.predictions).encode() for each in explanations)]


def without_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every attempt to load a model fail."""

    def fail(*_: Any) -> Any:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(classifiers, "open_model", fail)


def one_logit(images: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(tf.nn.softplus(images * 3.0 - 1.0), [1, 2])[:, :1] - 0.7


def two_outputs(images: Any) -> Any:
    import tensorflow as tf

    features = tf.reduce_mean(tf.nn.softplus(images), [1, 2])
    return {"a": features, "b": tf.reshape(images, [-1, SIZE * SIZE * 3])[:, :2] * 2.0}


def sum_of_two(outputs: Any, _: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(outputs["a"] ** 2, 1) + outputs["b"][:, 0]


KINDS: dict[str, tuple[Callable[[Path], str], ModelOptions]] = {
    "logits": (lambda folder: smooth(folder, size=SIZE), OPTIONS),
    "softmax": (lambda folder: fused_module(folder, "softplus"), OPTIONS),
    "logits before a softmax": (lambda folder: fused_module(folder, "softplus"), ModelOptions(score="logit")),
    "log odds": (lambda folder: fused_module(folder, "relu"), ModelOptions(score="log_odds")),
    "a layer": (lambda folder: fused_module(folder, "softplus"), ModelOptions(score="logit", layer="matmul")),
    "one logit": (lambda folder: save(folder, one_logit, SIZE, SIZE), ModelOptions(outputs="logits")),
    "a value": (lambda folder: save(folder, one_logit, SIZE, SIZE), ModelOptions(outputs="values")),
    "two outputs": (
        lambda folder: save(folder, two_outputs, SIZE, SIZE),
        ModelOptions(score=f"{__name__}:sum_of_two"),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path, monkeypatch) -> tuple[str, ModelOptions, dict[str, Any]]:
    """The path of a model, its options, and the settings that they need."""
    make, options = KINDS[request.param]
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or importlib.import_module(__name__))
    return make(tmp_path / "net"), options, {"targets": "none"} if ":" in options.score else {}


def test_a_second_start_gives_the_same_bits_without_the_model(kind, cache, monkeypatch):
    path, options, settings = kind
    if ":" in options.score:
        monkeypatch.setattr("transforms.core.model.cache_key._code_digest", lambda name: "")  # this file is no module
    _, uncached = start(path, None, options, **settings)
    first, wanted = start(path, cache, options, **settings)
    assert reason(first) == FIRST
    without_model(monkeypatch)
    second, found = start(path, cache, options, **settings)
    assert reason(second) == ""
    assert bits(found) == bits(wanted)
    assert second.step.graph == first.step.graph != ""
    assert second.step.recalled and not first.step.recalled
    kept = dataclasses.fields(classifiers.Classifier)
    same = {field.name for field in kept} - {"outputs", "explained", "outputs_of", "score", "frozen", "kept"}
    assert {name: getattr(second.classifier, name) for name in same} == {
        name: getattr(first.classifier, name) for name in same
    }
    pictures = natural_pictures(first.classifier.input_shape, 2)
    outputs = [np.asarray(each.classifier.outputs(pictures)) for each in (first, second)]
    np.testing.assert_array_equal(*outputs)
    for one, other in zip(wanted, uncached, strict=True):  # rounding alone: softplus has no kink, and ReLUs few
        for mine, plain in zip(one.attributions, other.attributions, strict=True):
            distance = np.abs(mine.values - plain.values).sum()
            assert distance <= 1e-3 * np.abs(plain.values).sum()


def test_without_a_cache_nothing_is_said(model):
    assert reason(start(model, None)[0]) is None


def test_other_options_and_other_files_have_entries_of_their_own(model, cache, tmp_path):
    start(model, cache)
    assert reason(start(model, cache, ModelOptions(pixels="signed"))[0]) == FIRST
    other = smooth(tmp_path / "other", size=SIZE, classes=4)
    assert reason(start(other, cache)[0]) == FIRST
    moved = shutil.copytree(model, tmp_path / "moved")
    assert reason(start(str(moved), cache)[0]) == ""


def test_names_of_classes_are_those_of_this_start(model, cache):
    start(model, cache, ModelOptions(class_names=tuple("abcde")))
    second, _ = start(model, cache, ModelOptions(class_names=tuple("vwxyz"), label_offset=1))
    assert reason(second) == ""
    assert (second.classifier.names, second.classifier.label_offset) == (tuple("vwxyz"), 1)


def edit(tmp_path: Path, suffix: str, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    """Changes the entry with a suffix, with a digest that fits."""
    (path,) = (tmp_path / "cache").glob(f"*{suffix}")
    path.write_bytes(pack(change(unpack(path.read_bytes()))))


def other_weights(members: dict[str, bytes]) -> dict[str, bytes]:
    """Returns the members with another constant in their last graph."""
    from tensorflow.core.framework.graph_pb2 import GraphDef

    name = next(name for name in ("tail", "graph") if name in members)
    graph = GraphDef.FromString(members[name])
    (node,) = [
        node for node in graph.node if node.op == "Const" and len(node.attr["value"].tensor.tensor_content) > 500
    ][-1:]
    values = np.frombuffer(node.attr["value"].tensor.tensor_content, np.float32) * np.float32(1.5)
    node.attr["value"].tensor.tensor_content = values.tobytes()
    return {**members, name: graph.SerializeToString()}


@pytest.mark.parametrize(
    ("suffix", "change", "told"),
    [
        (".step", other_weights, "what was kept gave outputs that differ by"),
        (".step", lambda members: {**members, "tail": b"no graph"}, "these passes were not applied to it before"),
        (".step", lambda members: {**members, "facts": b"{"}, "these passes were not applied to it before"),
        (".model", lambda members: {**members, "facts": b"{"}, "it is not what this version writes"),
        (".model", lambda members: {**members, "facts": b"{}"}, "it is not what this version writes"),
        (".model", lambda members: {**members, "reference": b"x"}, "it cannot be read"),
        (".model", lambda members: {**members, "graph": b"no graph"}, "it cannot be read"),
        (".model", lambda members: {"facts": members["facts"]}, "it is not what this version writes"),
    ],
)
def test_what_is_forged_or_damaged_is_computed_again_and_replaced(
    model, cache, tmp_path, monkeypatch, suffix, change, told
):
    _, wanted = start(model, cache)
    edit(tmp_path, suffix, change)
    again, found = start(model, cache)
    assert told in reason(again)
    assert bits(found) == bits(wanted)
    without_model(monkeypatch)
    third, found = start(model, cache)
    assert reason(third) == ""
    assert bits(found) == bits(wanted)


def test_a_forged_graph_without_a_step_of_it_is_found_too(model, cache, tmp_path):
    _, wanted = start(model, cache)
    edit(tmp_path, ".model", other_weights)
    for path in (tmp_path / "cache").glob("*.step"):
        path.unlink()
    again, found = start(model, cache)
    assert "what was kept gave outputs that differ by" in reason(again)
    assert bits(found) == bits(wanted)


@pytest.mark.parametrize("suffix", [".model", ".step"])
def test_flipped_bytes_are_not_used(model, cache, tmp_path, suffix):
    _, wanted = start(model, cache)
    (path,) = (tmp_path / "cache").glob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)
    again, found = start(model, cache)
    assert reason(again)
    assert bits(found) == bits(wanted)


def test_a_cache_that_cannot_be_used_changes_nothing_but_the_report(model, cache):
    _, wanted = start(model, cache)
    found, explained = start(model, ClosedCache("it is closed"))
    assert reason(found) == (
        "it is closed; it cannot be kept: it is closed; the compiled step cannot be kept: it is closed"
    )
    assert bits(explained) == bits(wanted)


def test_a_model_that_cannot_be_frozen_is_not_kept(cache, tmp_path):
    import tensorflow as tf

    def looped(images: Any) -> Any:
        total = tf.while_loop(
            lambda i, _: i < 3, lambda i, x: (i + 1, x + tf.reduce_mean(images, [1, 2])), [0, images[:, 0, 0]]
        )
        return total[1] * 5.0 - 7.0

    path = save(tmp_path / "loop", looped, SIZE, SIZE)
    assert reason(start(path, cache, ModelOptions(outputs="logits"))[0]) is None
    assert not list((tmp_path / "cache").iterdir())


def test_a_missing_model_is_told_as_without_a_cache(cache, tmp_path):
    with pytest.raises(ValueError, match="not an https:// TF-Hub handle"):
        known_classifier.load(str(tmp_path / "none"), OPTIONS, cache)
