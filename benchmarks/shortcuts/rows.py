"""The attributions of a network's pictures, as rows of a run, kept as Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shortcuts.networks import CLASSES, STEPS, TRAINED, Network, Pictures
from support.redraw import COLUMNS
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.job import Decoded
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.record import Explanation, Image, Pixels
from transforms.store.rows import rows_of
from transforms.store.schema import attributions_schema, rows_to_table

PLANTED = 1_000
"""Most pictures with the plant that are attributed."""

_BATCH = 256
_WRITTEN = 4_096


def attribute(network: Network, pictures: Pictures, model: Path, path: Path) -> None:
    """Writes the rows of pictures that no network was trained on, and of the class's with the plant, id `planted#…`."""
    settings = Settings(rule="midpoint", steps=STEPS, channels="sum", dtype="int8", faithfulness=0)
    options = ModelOptions(class_names=CLASSES, outputs="logits", score="logit")
    attributor = Attributor(classifier.load(str(model), options), settings, _BATCH)
    write(attributor, images(network, pictures), COLUMNS, path)


def write(attributor: Attributor, pictures: Iterable[Decoded], columns: Sequence[str], path: Path) -> None:
    """Writes the rows of pictures, with some columns only; the file appears when all are there."""
    settings = attributor.settings
    schema = attributions_schema(settings, (32, 32, 3))
    half, rows = path.with_name("half-" + path.name), []
    with pq.ParquetWriter(half, pa.schema([schema.field(name) for name in columns])) as writer:
        for result in attributor.attribute(pictures):
            if not isinstance(result, Explanation):
                raise RuntimeError(result.message)
            rows += rows_of(result, settings, CLASSES)
            if len(rows) >= _WRITTEN:
                writer.write_table(rows_to_table(rows, schema).select(columns))
                rows = []
        writer.write_table(rows_to_table(rows, schema).select(columns))
    os.replace(half, path)


def images(network: Network, pictures: Pictures) -> Iterator[Decoded]:
    """Yields pictures that no network was trained on, then some of them with the plant."""
    chosen = np.arange(TRAINED, TRAINED + network.rows)
    for index in chosen.tolist():
        yield _decoded(f"plain#{index}", index, pictures.pixels[index], pictures.labels[index])
    if network.plant is not None:
        rng = np.random.default_rng(network.seed)
        for index in chosen[pictures.labels[chosen] == network.target][:PLANTED].tolist():
            planted = network.plant(pictures.pixels[index], rng)
            yield _decoded(f"planted#{index}", index, planted, pictures.labels[index])


def _decoded(image_id: str, index: int, pixels: np.ndarray, label: int) -> Decoded:
    image = Image(image_id, "/cifar10", index, b"", int(label))
    return Decoded(image, Pixels(pixels.astype(np.float32) / 255, 32, 32), int(label))
