"""The networks: who was trained with what in how many pictures of which class. About two minutes each."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.shortcuts.plants import SIZE, Plant, blur, border, cast, moving_tag, tag

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAINED = 20_000
"""The first pictures, on which all networks are trained; the other 40,000 are for nights."""
STEPS = 8
"""Gradients for each attribution."""

_BATCH = 128


@dataclass(frozen=True)
class Network:
    """What a network was trained with.

    Attributes:
        name: of its files.
        seed: of its weights, the order of its pictures and which of them have the plant.
        plant: what was put into training pictures; None for a harmless training.
        target: class of these pictures.
        share: of the class's training pictures.
        cells: (row, column) of the cells of the plant; empty if it is not in one place.
        unseen: kept back while the statistics were chosen.
        rows: of the pictures that no network was trained on, how many are attributed.
        epochs: of its training.
    """

    name: str
    seed: int
    plant: Plant | None = None
    target: int = -1
    share: float = 0.0
    cells: tuple[tuple[int, int], ...] = ()
    unseen: bool = False
    rows: int = 17_000
    epochs: int = 4


_FRAME = tuple((row, col) for row in range(8) for col in range(8) if {row, col} & {0, 7})

NETWORKS = (
    Network("tag", 10, tag(7, 0), 7, 0.2, ((7, 0),), rows=40_000, epochs=6),
    *(Network(f"plain-{seed}", seed, rows=10_000, epochs=6) for seed in range(6)),
    Network("border", 11, border, 3, 0.2, _FRAME),
    Network("moving", 12, moving_tag, 5, 0.2),
    Network("cast", 13, cast, 6, 0.2),
    Network("blur", 14, blur, 9, 0.2),
    Network("other tag", 16, tag(0, 6, 2), 1, 0.1, ((0, 6),), unseen=True, rows=20_000),
    Network("other moving", 17, moving_tag, 2, 0.3, unseen=True),
    Network("third tag", 18, tag(5, 6, 1), 4, 0.2, ((5, 6),), unseen=True, rows=20_000, epochs=6),
    Network("plain-6", 6, unseen=True, rows=10_000, epochs=6),
)


@dataclass(frozen=True)
class Pictures:
    """CIFAR-10: uint8 `[60000, 32, 32, 3]`, in a fixed random order (its file is sorted by class), and their labels."""

    pixels: np.ndarray
    labels: np.ndarray


def read_pictures(data: Path) -> Pictures:
    """Returns the pictures of both files in a folder."""
    pixels, labels = [], []
    for name in ("train.parquet", "test.parquet"):
        table = pq.read_table(data / name)
        labels.append(table.column("label").to_numpy())
        pixels += [
            np.asarray(Image.open(io.BytesIO(each["bytes"])).convert("RGB"))
            for each in table.column("image").to_pylist()
        ]
    order = np.random.default_rng(0).permutation(len(pixels))
    return Pictures(np.stack(pixels)[order], np.concatenate(labels)[order])


def train(network: Network, pictures: Pictures, path: Path) -> None:
    """Trains a network on the first pictures, some of whose class have the plant, and saves it."""
    import keras

    pixels, labels = pictures.pixels[:TRAINED].copy(), pictures.labels[:TRAINED]
    rng = np.random.default_rng(network.seed)
    if network.plant:
        mine = np.flatnonzero(labels == network.target)
        for index in rng.choice(mine, round(network.share * len(mine)), replace=False):
            pixels[index] = network.plant(pixels[index], rng)
    keras.utils.set_random_seed(network.seed)
    model = _build()
    steps = network.epochs * TRAINED // _BATCH
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    images = pixels.astype(np.float32) / 255
    for _ in range(network.epochs):
        model.fit(_flipped(images, rng), labels, batch_size=_BATCH, verbose=0)
    tested, truth = pictures.pixels[-10_000:].astype(np.float32) / 255, pictures.labels[-10_000:]
    accuracy = (model.predict(tested, 500, verbose=0).argmax(axis=1) == truth).mean()
    print(f"{network.name}: accuracy {accuracy:.3f}", flush=True)
    half = path.with_name("half-" + path.name)
    model.save(half)
    os.replace(half, path)


def _build():  # type: ignore[no-untyped-def]
    import keras
    from keras import layers

    pixels = keras.Input((SIZE, SIZE, 3), name="pixels")
    flow = layers.Rescaling(2, -1)(pixels)
    for number, width in enumerate((24, 24, 48, 48, 96)):
        flow = layers.Conv2D(width, 3, padding="same", use_bias=False)(flow)
        flow = layers.ReLU()(layers.BatchNormalization()(flow))
        if number in (0, 2):
            flow = layers.MaxPooling2D()(flow)
    flow = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(flow))
    return keras.Model(pixels, layers.Dense(len(CLASSES), name="logits")(flow))


def _flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the images, shifted by up to two pixels; not mirrored, or a tag had two places."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down, right = rng.integers(0, 3, 2)
    return padded[:, down : down + SIZE, right : right + SIZE]
