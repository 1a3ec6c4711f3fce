"""Slices: which sets of rows a row belongs to, and how many of these are kept.

A row is one image and one target, and a row counts once in each slice it belongs to:

- `all`: every row;
- `predicted` c: rows that explain class c, of images whose top prediction is c;
- `target` c: rows that explain class c, of images whose top prediction is another class (`topK` beyond
  the first, `class:N`, `label`); no row is in both this and the one before, so the two can be merged;
- `label` c: rows of images labeled c;
- `wrong`: rows of labeled images whose top prediction is not the label;
- `confusion` c>d: those of them labeled c whose top prediction is d;
- `shard` g: rows of a group of shards: those whose file names differ in numbers only (`cats-*-of-*.tfrecord`);
- `field:f` v: rows of images whose field f is v, for each field that was asked for.

Of a model that gives any number of labels, all rows that explain class c are in `target` c, an image is in `label` c
for each c of its labels, and it is `wrong` if those predicted are others; there are no confusion pairs. Of a
regression, rows are in `target` c for its output c. Rows that explain no class are in no slice of one.

Confusion pairs and fields can be countless. Of each kind the largest slices are kept; the rows of the others are
counted together, in the slice of that kind which `overflow` names. Which are kept depends on the rows alone, not on
their order, chunks or workers.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from transforms.core.option import option

SLICE_COLUMNS = (
    "label",
    "label_name",
    "predicted",
    "predicted_name",
    "target",
    "target_name",
    "target_rank",
    "shard",
    "fields",
)
"""What places a row in its slices; `predicted` is the image's top prediction, `fields` are pairs of text. Of a model
that gives any number of labels, `label`, `predicted` and their names are tuples."""

Class = int | tuple[int, ...] | None
Name = str | tuple[str, ...] | None

FINE_KINDS = frozenset({"all", "wrong"})
"""Kinds of which a run has one slice, whose histograms are fine; all other slices have coarse ones."""

FIELD = "field:"
OTHER = "other"

_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True, order=True)
class Slice:
    """The key of a set of rows.

    Attributes:
        kind: see the module's docstring.
        value: tells slices of a kind apart: a class index, a label that is not one, or text.
        name: how people call `value`; depends on it alone.
    """

    kind: str
    value: str = ""
    name: str = ""


SliceRow = Callable[..., Iterable[Slice]]
"""Names the slices of a row, given its SLICE_COLUMNS in their order."""


@dataclass(frozen=True, kw_only=True)
class SliceOptions:
    """Which slices a run's statistics have beside those that every run has."""

    slice_by: tuple[str, ...] = option(
        (),
        "features, columns or JSON keys whose values make slices; they are carried into the rows as by fields",
        group="statistics",
        metavar="FIELD",
    )
    max_slices: int = option(
        1000, "most slices of a kind in the statistics; the smaller ones are counted as one", low=1, group="statistics"
    )


@dataclass(frozen=True)
class Slicer:
    """Names the slices of a row.

    Attributes:
        slice_by: the fields whose values make slices.
    """

    slice_by: tuple[str, ...] = ()

    def __call__(
        self,
        label: Class,
        label_name: Name,
        predicted: Class,
        predicted_name: Name,
        target: int,
        target_name: str | None,
        target_rank: int | None,
        shard: str,
        fields: Iterable[tuple[str, str]],
    ) -> tuple[Slice, ...]:
        """Returns the slices that a row belongs to, given its SLICE_COLUMNS."""
        found = class_slices(label, label_name, predicted, predicted_name, target, target_name, target_rank)
        found += (shard_slice(shard),)
        if not self.slice_by:
            return found
        values = dict(fields)
        return found + tuple(field_slice(name, values[name]) for name in self.slice_by if name in values)


@functools.lru_cache(maxsize=65536)
def class_slices(
    label: Class,
    label_name: Name,
    predicted: Class,
    predicted_name: Name,
    target: int,
    target_name: str | None,
    target_rank: int | None,
) -> tuple[Slice, ...]:
    """Returns the slices that classes place a row in; see `Slicer`."""
    found, several = [Slice("all")], isinstance(predicted, tuple)
    if target_rank is not None or target_name is not None:
        kind = "predicted" if target_rank == 0 and not several else "target"
        found.append(Slice(kind, str(target), target_name or ""))
    if isinstance(label, tuple):
        found += [Slice("label", str(one), name) for one, name in zip(label, _names(label_name), strict=True)]
        found += [Slice("wrong")] * (predicted is not None and set(label) != set(_several(predicted)))
    elif label is not None:
        name = label_name if isinstance(label_name, str) else ""
        found.append(Slice("label", str(label), name))
        if predicted is not None and predicted != label:
            pair = f"{name or label} → {predicted_name or predicted}"
            found += [Slice("wrong"), Slice("confusion", f"{label}>{predicted}", pair)]
    elif isinstance(label_name, str) and label_name:
        found.append(Slice("label", label_name, label_name))
    return tuple(found)


def _names(names: Name) -> tuple[str, ...]:
    return names if isinstance(names, tuple) else ()


def _several(classes: Class) -> tuple[int, ...]:
    return classes if isinstance(classes, tuple) else () if classes is None else (classes,)


@functools.lru_cache(maxsize=4096)
def shard_slice(shard: str) -> Slice:
    """Returns the slice of a shard's group."""
    group = _NUMBERS.sub("*", shard.rstrip("/").rpartition("/")[2])
    return Slice("shard", group, group)


def field_slice(name: str, value: str) -> Slice:
    """Returns the slice of a value of a field."""
    return Slice(FIELD + name, value, value)


def kept_slices(counts: Mapping[Slice, int], most: int) -> frozenset[Slice]:
    """Returns the slices that are kept: of each kind the `most` with the highest counts, the least where they tie."""
    kinds = defaultdict(list)
    for key, count in counts.items():
        kinds[key.kind].append((-count, key))
    return frozenset(key for ranked in kinds.values() for _, key in sorted(ranked)[:most])


def overflow(key: Slice) -> Slice:
    """Returns the slice in which the rows of a slice are counted that is not kept."""
    return Slice(key.kind, "", OTHER)


def is_overflow(key: Slice) -> bool:
    """Returns whether a slice is one in which others are counted together, which is no slice to compare."""
    return key == overflow(key)


def counted_in(key: Slice, kept: Collection[Slice]) -> Slice:
    """Returns the slice in which the rows of a slice are counted: itself where it is kept, else its overflow."""
    return key if key in kept else overflow(key)
