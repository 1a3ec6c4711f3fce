"""Small shards in every format, and all that comes out of them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import formats
from transforms.core.record import Chunk, Failure, Image
from transforms.formats import ReadOptions

NAMES = {
    "tfrecord": "a.tfrecord",
    "tfrecord.gz": "a.tfrecord.gz",
    "webdataset": "a.tar",
    "webdataset.gz": "a.tar.gz",
    "parquet": "a.parquet",
    "files": "folder",
}


def payloads(count: int) -> list[bytes]:
    """Returns bytes that stand for images: readers do not decode."""
    return [bytes([65 + number % 26]) * (100 + 37 * number) for number in range(count)]


def write_shard(folder: Path, kind: str, images: Sequence[bytes], labels: Sequence[Any] | None = None) -> Path:
    """Writes images, labelled by their position unless told, into a shard of a kind of `NAMES`."""
    path = folder / NAMES[kind]
    labels = list(range(len(images))) if labels is None else labels
    if kind.startswith("tfrecord"):
        records = [example(image, label) for image, label in zip(images, labels, strict=True)]
        write_tfrecord(path, records, "GZIP" if kind.endswith("gz") else "")
    elif kind.startswith("webdataset"):
        members = {}
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            members |= {f"{number:04d}.jpg": image, f"{number:04d}.cls": str(label).encode()}
        write_tar(path, members, "w:gz" if kind.endswith("gz") else "w")
    elif kind == "parquet":
        pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": labels}), path, row_group_size=5)
    else:
        path.mkdir()
        for number, image in enumerate(images):
            (path / f"{number:04d}.jpg").write_bytes(image)
    return path


def example(image: Any = None, label: Any = None, **more: Any) -> bytes:
    """Returns a serialized `tf.train.Example` of ImageNet's features and more."""
    import tensorflow as tf

    def feature(value: Any) -> Any:
        values = value if isinstance(value, list) else [value]
        if (isinstance(value, list) and not value) or isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        content = [each.encode() if isinstance(each, str) else each for each in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=content))

    values = {"image/encoded": image, "image/class/label": label, **more}
    features = {name: feature(value) for name, value in values.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_tfrecord(path: Path, records: Sequence[bytes], compression: str = "") -> None:
    """Writes records as TensorFlow does."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)


def write_tar(path: Path, members: Mapping[str, bytes | dict[str, Any]], mode: str = "w", **options: Any) -> None:
    """Writes a tar archive; a dict becomes JSON."""
    with tarfile.open(path, mode, **options) as archive:
        for name, content in members.items():
            data = json.dumps(content).encode() if isinstance(content, dict) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def plan_all(inputs: str | Path | list[str], options: ReadOptions | None = None) -> list[Chunk]:
    """Returns the chunks of all shards that the inputs name."""
    options = options or ReadOptions()
    texts = inputs if isinstance(inputs, list) else [str(inputs)]
    return [chunk for shard in formats.expand(texts, options.input_format) for chunk in formats.plan(shard, options)]


def read_all(inputs: str | Path | list[str], options: ReadOptions | None = None) -> list[Image | Failure]:
    """Returns all images and failures of the inputs."""
    options = options or ReadOptions()
    return [item for chunk in plan_all(inputs, options) for item in formats.read(chunk, options)]
