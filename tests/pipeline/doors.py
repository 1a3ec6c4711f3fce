"""The table of docs/models.md: kinds of model through each door, against integrated gradients by a plain gradient tape.

    python -m tests.pipeline.doors --write

measures each kind and writes the table; with names of kinds in place of `--write` it prints only what these measure.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf

from tests.pipeline.job import npy, png, rows_of, run
from tests.pipeline.kinds_of_model import DOORS, KINDS, Built, Function, Kind
from transforms.attribute import AttributeImages
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.record import Explanation, Failure, Image
from transforms.notebook import Attributor

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- by python -m tests.pipeline.doors --write -->", "<!-- end of the table -->"
HEAD = "| kind of model | options | " + " | ".join(DOORS) + " |"
BATCH = 8
LOOSE = 5e-2
"""How near float16 comes to an oracle that rounds at other places."""

Maps = dict[tuple[int, int], np.ndarray]
"""Maps by picture and target."""


def measure(kind: Kind, folder: Path) -> dict[str, float]:
    """Returns how far a kind's maps are from the oracle's, by door.

    Raises:
        AssertionError: the bound does not hold, or a door makes other maps than the oracle has.
    """
    built, pictures = kind.build(folder), pictures_of(kind)
    wanted = oracle(kind, built, pictures)
    norms = [np.abs(values).sum() for values in wanted.values()]
    assert min(norms) > 1e-4, f"{kind.name}: nothing to compare, {norms}"
    measured = {}
    if kind.repeated:
        plain, wanted = wanted, notebook(kind, built, pictures, folder, batch=3)
        assert (loose := distance(wanted, plain)) <= LOOSE, f"{kind.name}: {loose}"
    for door in kind.doors:
        measured[door] = distance(PASSAGES[door](kind, built, pictures, folder), wanted)
        assert measured[door] <= kind.bound, f"{kind.name}, {door}: {measured[door]}"
    return measured


def formatted(kind: Kind) -> str:
    """Returns the row of a kind whose bound holds in each of its doors."""
    options = {**kind.model, **kind.settings}
    flags = [f"--{name} {' '.join(value) if isinstance(value, list) else value}" for name, value in options.items()]
    bound = f"≤ {kind.bound:.0e}".replace("e-0", "e-") + " of its repeat" * kind.repeated
    cells = [
        kind.name,
        f"`{' '.join(flags)}`" if flags else "",
        *(bound if door in kind.doors else kind.without for door in DOORS),
    ]
    return "| " + " | ".join(cells) + " |"


def table_of_page() -> list[str]:
    """Returns the rows of the table in docs/models.md."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return lines[lines.index(HEAD) + 2 : lines.index(END) - 1]


def distance(found: Maps, wanted: Maps) -> float:
    """Returns the largest L1 distance of two maps, relative to the L1 norm of the wanted one."""
    assert found.keys() == wanted.keys(), f"maps of {sorted(found)}, not of {sorted(wanted)}"
    return max(float(np.abs(found[key] - wanted[key]).sum() / np.abs(wanted[key]).sum()) for key in wanted)


def pictures_of(kind: Kind) -> np.ndarray:
    """Returns two different pictures, uint8 `[2, height, width, channels]`."""
    return np.random.default_rng(5).integers(0, 256, (2, *kind.shape), np.uint8)


def oracle(kind: Kind, built: Built, pictures: np.ndarray) -> Maps:
    """Returns integrated gradients from black at the midpoints, by a plain gradient tape."""
    found = {}
    for index, picture in enumerate(pictures):
        image = picture.astype(np.float32) / np.float32(255)
        scores = np.asarray(built.scores(tf.constant(image[None])))[0]
        for target in _targets(kind.settings.get("targets", ""), scores):
            found[index, target] = _integrated_gradients(built.scores, image, target, kind.steps)
    return found


def _targets(setting: str, scores: np.ndarray) -> list[int]:
    if setting.startswith("above:"):
        return [int(index) for index in np.flatnonzero(scores > float(setting.removeprefix("above:")))]
    return [int(setting.removeprefix("class:"))] if setting.startswith("class:") else [int(scores.argmax())]


def _integrated_gradients(scores: Function, image: np.ndarray, target: int, steps: int) -> np.ndarray:
    alphas = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    points = tf.constant(alphas[:, None, None, None] * image)
    with tf.GradientTape() as tape:
        tape.watch(points)
        score = scores(points)[:, target]
    return tape.gradient(score, points).numpy().mean(0, dtype=np.float64) * image


def notebook(kind: Kind, built: Built, pictures: np.ndarray, folder: Path, batch: int = BATCH) -> Maps:
    """Returns the maps of arrays."""
    options, settings = _options(kind)
    opened = Attributor.open(built.model, model=options, settings=settings, batch_size=batch)
    return _by_target(enumerate(opened.explain(pictures)))


def job(kind: Kind, built: Built, pictures: np.ndarray, folder: Path) -> Maps:
    """Returns the maps that `ig-audit run` stores of files."""
    (folder / "pictures").mkdir()
    for index, picture in enumerate(pictures):
        (folder / "pictures" / f"{index}{suffix(picture)}").write_bytes(encoded(picture))
    flags = {**kind.model, **kind.settings, "rule": "midpoint", "steps": kind.steps, "dtype": "float32"}
    inputs = {"input": folder / "pictures", "model": built.model, "batch_size": BATCH, "faithfulness": 0}
    assert run(folder / "run", **inputs, **flags) == 0, kind.name
    rows = rows_of(folder / "run")
    return {(int(Path(row["image_id"].rpartition("#")[2]).stem), row["target"]): row["attribution"] for row in rows}


def transform(kind: Kind, built: Built, pictures: np.ndarray, folder: Path) -> Maps:
    """Returns the maps of a Beam pipeline's images."""
    options, settings = _options(kind)
    images = [Image(str(index), "", index, encoded(picture)) for index, picture in enumerate(pictures)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        outcomes = pipeline | beam.Create(images) | AttributeImages(built.model, options, settings, BATCH)
        _ = outcomes | beam.combiners.ToList() | beam.Map(_keep, str(folder / "outcomes"))
    return pickle.loads((folder / "outcomes").read_bytes())


PASSAGES = {"job": job, "transform": transform, "notebook": notebook}


def _keep(outcomes: list[Explanation | Failure], path: str) -> None:
    for outcome in outcomes:
        assert isinstance(outcome, Explanation), outcome
    Path(path).write_bytes(pickle.dumps(_by_target((outcome.image.index, outcome) for outcome in outcomes)))


def _by_target(explained: Any) -> Maps:
    return {(index, found.target or 0): found.values for index, each in explained for found in each.attributions}


def _options(kind: Kind) -> tuple[ModelOptions, Settings]:
    return ModelOptions(**kind.model), Settings(rule="midpoint", steps=kind.steps, **kind.settings)


def suffix(picture: np.ndarray) -> str:
    return ".png" if picture.shape[2] in (1, 3) else ".npy"


def encoded(picture: np.ndarray) -> bytes:
    """Returns a picture as a PNG, or an array where a PNG has no such channels."""
    return png(picture.squeeze()) if suffix(picture) == ".png" else npy(picture)


def main(names: Sequence[str]) -> None:
    """Measures the kinds of these names, or all of them for `--write`, which writes the table."""
    write = list(names) == ["--write"]
    for kind in [kind for kind in KINDS if write or kind.name in names]:
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(kind, Path(folder))
        distances = {door: f"{value:.1e}" for door, value in measured.items()}
        print(kind.name, distances, f"{time.process_time() - start:.1f} s")
    if write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        table = "\n".join([BEGIN, "", HEAD, "|---" * (2 + len(DOORS)) + "|", *map(formatted, KINDS), "", END])
        PAGE.write_text(before + table + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1:])
