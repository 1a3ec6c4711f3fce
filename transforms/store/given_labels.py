"""Labels that come after a run: read from a file, and joined to the rows as they are read; the run stays as it is.

What a label means is decided as in the job (`Labels`). Images that the file does not name keep what is stored.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.explain.label import LabelError, Labels
from transforms.core.stable_hash import stable_hashes
from transforms.core.statistics.importance import ImportanceStatistics, add_slices, iter_slices
from transforms.core.statistics.slices import Slice, SliceOptions, Slicer, counted_in, kept_slices
from transforms.core.vocabulary import MAX_LABEL_LETTERS
from transforms.store.files import open_parquet
from transforms.store.json_object import read_object
from transforms.store.labels import LabelCounts
from transforms.store.placed import BLOCK_ROWS, COLUMNS, begins, blocks, hash_images, place_rows
from transforms.store.schema import SUMMARIZED_COLUMNS, statistic_columns
from transforms.store.tables import statistics_table

if TYPE_CHECKING:
    from transforms.store.run import Run

ID_COLUMNS = ("image_id", "id")
"""Names of the column of image ids, in the order of preference."""

LABEL_COLUMNS = ("label", "label_name", "class")
"""Names of the column of labels, in the order of preference."""

MAX_BYTES = 1 << 30
"""Size of a file of labels."""

_MAX_LINE_BYTES = 1 << 20

_JOINED = ("label", "label_name")
_OF_CLASSES = ("classes", "binary")
_NAMING = ("target", "target_name", "predictions")
_SHOWN = 200
_SUMMARIZED_ROWS = 1 << 13

_Scalar = int | float | str


class UnmatchedError(UsageError):
    """None of the labels is of an image of the run."""


@dataclass(frozen=True)
class LabelFile:
    """Labels by image.

    Attributes:
        uri: of the file.
        images: hashes of the image ids, sorted, uint64 `[images]`.
        codes: each image's label, as an index into `values`, int32 `[images]`.
        values: the distinct labels, as the file gives them.
        contradictory: images that it gives several labels, and which therefore are not among `images`.
    """

    uri: str
    images: np.ndarray
    codes: np.ndarray
    values: tuple[_Scalar, ...]
    contradictory: int


@dataclass(frozen=True)
class GivenLabels:
    """Labels as the rows of a run hold them.

    Attributes:
        images: hashes of the image ids, sorted, uint64 `[images]`.
        codes: each image's label, as an index into the next two, int32 `[images]`.
        classes: the class of each label, int32 `[labels]`; null if it names none.
        names: its name, text `[labels]`.
        counts: images of the run by what their labels are good for now.
        matched: images of the run that got a label.
        unknown: images of the file that the run does not hold.
        contradictory: images of the file that it gives several labels; they keep what is stored.
        uri: of the file.
        example: the first label of the run's images that names no class, as the file gives it; empty if there is none.
    """

    images: np.ndarray
    codes: np.ndarray
    classes: pa.Array
    names: pa.Array
    counts: LabelCounts
    matched: int
    unknown: int
    contradictory: int
    uri: str
    example: str = ""

    def __str__(self) -> str:
        """Returns what was joined, as a sentence."""
        found = [f"{self.uri} labels {self.matched:,} of {self.counts.images:,} images", f"labels now: {self.counts}"]
        if self.unknown:
            ids = "id of the file is" if self.unknown == 1 else "ids of the file are"
            found.append(f"{self.unknown:,} {ids} not in the run")
        if self.contradictory:
            ids = (
                "id has several labels there and keeps"
                if self.contradictory == 1
                else "ids have several labels there and keep"
            )
            found.append(f"{self.contradictory:,} {ids} what is stored")
        return "; ".join(found)

    @property
    def unusable(self) -> str:
        """How many labels of the run's images name no class, as a sentence."""
        count = self.counts.unusable
        such = f", such as {self.example!r}" if self.example else ""
        return f"{count:,} label{'s name' if count != 1 else ' names'} no class{such}"

    def to_read(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        """Returns which columns to read so that labels can be joined; None are all."""
        if columns is None or "image_id" in columns or not set(columns).intersection(_JOINED):
            return columns
        return [*columns, "image_id"]

    def join(self, table: pa.Table) -> pa.Table:
        """Returns rows with their labels in place of what is stored, if the table has labels and ids."""
        if "image_id" not in table.column_names or not len(self.images):
            return table
        found, positions = _look_up(self.images, hash_images(table.column("image_id")))
        codes, mask = pa.array(self.codes[positions]), pa.array(found)
        for name, values in zip(_JOINED, (self.classes, self.names), strict=True):
            if name in table.column_names:
                at, field = table.schema.get_field_index(name), table.schema.field(name)
                table = table.set_column(at, field, pc.if_else(mask, values.take(codes), table.column(name)))
        return table


def read_labels(uri: str) -> LabelFile:
    """Returns the labels of a CSV or TSV file with a header, a file of JSON lines, or a Parquet file.

    Raises:
        OSError: the file is missing or cannot be read.
        UsageError: it has another format, lacks a column, or is too large.
    """
    name = uri.lower()
    read = next((reader for endings, reader in _READERS.items() if name.endswith(endings)), None)
    if read is None:
        known = ", ".join(ending for endings in _READERS for ending in endings)
        raise UsageError(f"labels: {uri}: the name ends in none of {known}")
    if (storage.size(uri) or 0) > MAX_BYTES:
        raise UsageError(f"labels: {uri}: more than the {MAX_BYTES:,} bytes allowed")
    try:
        ids, labels = read(uri)
        return _label_file(uri, ids, labels)
    except pa.ArrowInvalid as error:
        raise UsageError(f"labels: {uri}: {error}") from error
    except RecursionError as error:
        raise UsageError(f"labels: {uri}: a label or an id is nested too deeply") from error


def give_labels(run: Run, file: LabelFile) -> Run:
    """Returns a finished run as if its images had had these labels; nothing is written.

    Raises:
        OSError: a part is missing or damaged.
        UnmatchedError: none of the labels is of an image of the run.
        UsageError: its model does not decide between classes.
    """
    task = run.manifest.task
    if task not in _OF_CLASSES:
        raise UsageError(f"labels: {file.uri}: {run.uri} is of the task {task!r}; allowed are {', '.join(_OF_CLASSES)}")
    names, images = _read_names(run)
    unknown = int((~_look_up(np.unique(images), file.images)[0]).sum())
    if unknown == len(file.images):
        none = f"none of its {unknown:,} image ids is" if unknown > 1 else "its only image id is not"
        raise UnmatchedError(f"labels: {file.uri}: {none} in {run.uri}")
    offset = run.manifest.provenance.config.get("label_offset") or 0
    resolved = [_resolve(Labels(names, task, offset), value) for value in file.values]
    matched, positions = _look_up(file.images, images[begins(images)])
    used = np.unique(file.codes[positions[matched]]).tolist()
    code = next((each for each in used if resolved[each].problem), None)
    given = GivenLabels(
        images=file.images,
        codes=file.codes,
        classes=pa.array([each.index for each in resolved], pa.int32()),
        names=pa.array([each.name for each in resolved], pa.string()),
        counts=LabelCounts(),
        matched=int(matched.sum()),
        unknown=unknown,
        contradictory=file.contradictory,
        uri=file.uri,
        example="" if code is None else str(file.values[code])[:_SHOWN],
    )
    labelled = dataclasses.replace(run, labels=given)
    problem = "" if code is None else resolved[code].problem
    return dataclasses.replace(run, labels=dataclasses.replace(given, counts=_count(labelled, problem)))


def relabelled_statistics(run: Run) -> pa.Table:
    """Returns the statistics of a run's rows with the labels that it was given, as a job stores them."""
    config = run.manifest.provenance.config
    slicer = Slicer(tuple(config.get("slice_by", ())))
    placed = place_rows(run.rows(COLUMNS, most=BLOCK_ROWS), slicer)
    counts = {key: len(placed.rows_of(key)) for key in placed.keys}
    kept = kept_slices(counts, config.get("max_slices", SliceOptions().max_slices))
    total: dict[Slice, ImportanceStatistics] = {}
    for table in blocks(run.rows(SUMMARIZED_COLUMNS), _SUMMARIZED_ROWS):
        found = iter_slices(statistic_columns(table), slicer)
        add_slices(total, ((counted_in(key, kept), statistics) for key, statistics in found))
    return statistics_table(total)


@dataclass(frozen=True)
class _Resolved:
    """What a label of the file means: a class, a text that names none, or nothing."""

    index: int | None
    name: str | None
    problem: str = ""


def _resolve(labels: Labels, value: _Scalar) -> _Resolved:
    try:
        index = labels.resolve(value)
    except LabelError as error:
        return _Resolved(None, str(value)[:_SHOWN], str(error))
    if not isinstance(index, int):
        return _Resolved(None, None)
    return _Resolved(index, labels.names[index] or str(index))


def _read_names(run: Run) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the model's classes, as far as rows know them, and the hash of each row's image id."""
    found: dict[int, str] = {}
    images = [np.zeros(0, np.uint64)]
    for table in blocks(run.rows(["image_id", *_NAMING])):
        images.append(hash_images(table.column("image_id")))
        predictions = table.column("predictions").combine_chunks().flatten()
        named = pa.table([pc.struct_field(predictions, name) for name in ("target", "name")], ["target", "name"])
        explained = table.select(["target", "target_name"]).rename_columns(["target", "name"])
        for pairs in (named, explained):
            groups = pairs.group_by(["target", "name"]).aggregate([])
            found |= {
                target: name
                for target, name in zip(*(groups.column(each).to_pylist() for each in ("target", "name")), strict=True)
                if target is not None and name
            }
    model = run.manifest.facts.get("model")
    known = model.get("classes") if isinstance(model, Mapping) else None
    count = max([known if isinstance(known, int) else 0, *(target + 1 for target in found)])
    return tuple(found.get(target, "") for target in range(count)), np.concatenate(images)


def _count(run: Run, problem: str) -> LabelCounts:
    """Returns the images of a run by what their labels are good for."""
    usable = unusable = missing = 0
    for table in blocks(run.rows(["image_id", *_JOINED])):
        first = begins(hash_images(table.column("image_id")))
        label, name = (table.column(each).is_valid().to_numpy()[first] for each in _JOINED)
        usable, unusable = usable + int(label.sum()), unusable + int((~label & name).sum())
        missing += int((~label & ~name).sum())
    return LabelCounts(usable, missing, unusable, problem[:_SHOWN])


def _look_up(images: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of `wanted` are among the sorted `images`, and where; a position of those that are not, too."""
    positions = np.minimum(np.searchsorted(images, wanted), max(0, len(images) - 1))
    return (images[positions] == wanted if len(images) else np.zeros(len(wanted), bool)), positions


def _label_file(uri: str, ids: Sequence[bytes], labels: Iterable[Any]) -> LabelFile:
    numbers: dict[_Scalar, int] = {}
    codes = np.array([numbers.setdefault(_scalar(label), len(numbers)) for label in labels], np.int32)
    values = tuple(numbers)
    given = np.array([value != "" for value in values], bool)[codes] if len(codes) else np.zeros(0, bool)
    images = np.frombuffer(stable_hashes(ids), ">u8").astype(np.uint64)[given]
    pairs = np.unique(np.stack([images, codes[given].astype(np.uint64)]), axis=1)
    _, first, counts = np.unique(pairs[0], return_index=True, return_counts=True)
    once = first[counts == 1]
    if not len(once):
        raise UsageError(f"labels: {uri}: gives no image one label")
    return LabelFile(uri, pairs[0][once], pairs[1][once].astype(np.int32), values, int((counts > 1).sum()))


def _scalar(label: Any) -> _Scalar:
    """Returns a label as it can be resolved; no text if there is none."""
    if isinstance(label, str):
        return label.strip()[:MAX_LABEL_LETTERS]
    if isinstance(label, bool):
        return int(label)
    return "" if label is None else label if isinstance(label, int | float) else str(label)[:MAX_LABEL_LETTERS]


def _read_separated(uri: str, delimiter: str) -> tuple[list[bytes], list[Any]]:
    data = storage.read_bytes(uri)
    kind = "TSV" if delimiter == "\t" else "CSV"
    try:
        head = data[: data.find(b"\n") + 1 or len(data)].decode("utf-8-sig")
        names = [name.strip() for name in next(csv.reader(io.StringIO(head), delimiter=delimiter), [])]
        wanted = _columns(uri, names)
        table = pa_csv.read_csv(
            io.BytesIO(data),
            pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=_MAX_LINE_BYTES),
            pa_csv.ParseOptions(delimiter=delimiter),
            pa_csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())),
        )
    except (pa.ArrowInvalid, UnicodeError, csv.Error) as error:
        raise UsageError(f"labels: {uri}: is no {kind}: {_not_separated(data, error)}") from error
    ids, labels = (table.column(name) for name in wanted)
    return ids.cast(pa.binary()).to_pylist(), labels.to_pylist()


def _not_separated(data: bytes, error: Exception) -> str:
    """Returns what is wrong with a file of lines that could not be read."""
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8 text (at byte {wrong.start:,})"
    if any(len(line) > _MAX_LINE_BYTES for line in io.BytesIO(data)):
        return f"a line is longer than {_MAX_LINE_BYTES:,} bytes"
    return str(error).removeprefix("CSV parse error: ")[:_SHOWN]


def _read_lines(uri: str) -> tuple[list[bytes], list[Any]]:
    rows = []
    for number, line in enumerate(storage.read_bytes(uri).splitlines(), 1):
        try:
            rows += [read_object(line)] if line.strip() else []
        except UsageError as error:
            raise UsageError(f"labels: {uri}: line {number:,}: {error}") from error
    wanted = _columns(uri, rows[0] if rows else [])
    ids, labels = ([row.get(name) for row in rows] for name in wanted)
    return [_encoded(image_id) for image_id in ids], labels


def _read_parquet(uri: str) -> tuple[list[bytes], list[Any]]:
    with open_parquet(uri) as parquet:
        wanted = _columns(uri, parquet.schema_arrow.names)
        table = parquet.read(columns=wanted)
    ids, labels = (table.column(name).to_pylist() for name in wanted)
    return [_encoded(image_id) for image_id in ids], labels


def _encoded(image_id: Any) -> bytes:
    return ("" if image_id is None else str(image_id)).encode("utf-8", "backslashreplace")


def _columns(uri: str, names: Iterable[str]) -> list[str]:
    """Returns the columns of image ids and of labels."""
    found = list(names)
    wanted = [next((name for name in known if name in found), "") for known in (ID_COLUMNS, LABEL_COLUMNS)]
    if not all(wanted):
        columns = f"one of {', '.join(ID_COLUMNS)} and one of {', '.join(LABEL_COLUMNS)}"
        raise UsageError(f"labels: {uri}: takes columns {columns}; it has {', '.join(found) or 'none'}")
    return wanted


_READERS: dict[tuple[str, ...], Callable[[str], tuple[list[bytes], list[Any]]]] = {
    (".csv",): lambda uri: _read_separated(uri, ","),
    (".tsv",): lambda uri: _read_separated(uri, "\t"),
    (".jsonl", ".ndjson", ".json"): _read_lines,
    (".parquet",): _read_parquet,
}
