"""Rows are placed as arrays just as they would be one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from transforms.core.explain.settings import Settings
from transforms.core.stable_hash import stable_hash
from transforms.core.statistics.slices import SLICE_COLUMNS, Slice, Slicer
from transforms.store.placed import COLUMNS, Placed, blocks, class_of, hash_images, place_rows
from transforms.store.sample import choose_rows
from transforms.store.schema import attributions_schema, slice_columns

SLICE_BY = ("camera", "weather")


def random_rows(count: int, seed: int, task: str = "classes") -> pa.Table:
    """Returns rows of up to three targets a picture, with labels, fields and names missing here and there."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        shared = _shared(rng, task)
        for rank in range(rng.integers(1, 4)):
            target = int(rng.integers(5))
            name = None if rng.random() < 0.1 else f"class {target}"
            shown = None if rng.random() < 0.2 else rank
            rows.append(shared | {"target": target, "target_name": name, "target_rank": shown})
    schema = attributions_schema(Settings(), (8, 8, 3), task)
    fields = [schema.field(name) for name in COLUMNS if name in schema.names]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in fields]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _shared(rng: np.random.Generator, task: str) -> dict[str, Any]:
    label = None if rng.random() < 0.2 else int(rng.integers(5))
    predictions = [{"target": int(rng.integers(5)), "name": "", "probability": 0.5} for _ in range(rng.integers(3))]
    for each in predictions:
        each["name"] = f"class {each['target']}"
    shared = {
        "image_id": f"{'éa'[rng.integers(2)]}#{rng.integers(200)}",  # some pictures come again, side by side or not
        "label": label,
        "label_name": rng.choice([None, "", "odd"]) if label is None else f"class {label}",
        "predictions": predictions,
        "shard": f"/in/{'ab'[rng.integers(2)]}-{rng.integers(4)}.tar",
        "fields": [
            {"key": str(rng.choice(["camera", "weather", "other"])), "value": str(rng.integers(3))}
            for _ in range(rng.integers(4))
        ],
    }
    return shared | (_several(rng) if task == "labels" else {})


def _several(rng: np.random.Generator) -> dict[str, Any]:
    def some() -> list[dict[str, Any]]:
        chosen = np.flatnonzero(rng.random(5) < 0.3).tolist()
        return [{"target": index, "name": f"class {index}"} for index in chosen]

    return {"label": None, "labels": None if rng.random() < 0.2 else some(), "decided": some()}


def place_one_by_one(table: pa.Table, slicer: Slicer) -> tuple[Mapping[Slice, list[int]], list[tuple[str, str]]]:
    columns = slice_columns(table)
    rows: dict[Slice, list[int]] = {}
    classes = []
    for number, values in enumerate(zip(*(columns[name] for name in SLICE_COLUMNS), strict=True)):
        classes.append(class_of(*values[:6]))
        for key in slicer(*values):
            rows.setdefault(key, []).append(number)
    return rows, classes


def in_pieces(table: pa.Table, rows: int) -> list[pa.Table]:
    return [table.slice(start, rows) for start in range(0, len(table), rows)]


@pytest.mark.parametrize("task", ["classes", "labels"])
@pytest.mark.parametrize("slice_by", [(), SLICE_BY])
def test_each_row_is_in_the_slices_and_of_the_class_that_it_would_be_alone(
    task: str, slice_by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("transforms.store.placed.blocks", lambda tables: blocks(tables, 300))  # several, uneven ones
    table, slicer = random_rows(2000, len(slice_by), task), Slicer(slice_by)
    placed = place_rows(in_pieces(table, 170), slicer)
    rows, classes = place_one_by_one(table, slicer)
    kinds = {"all", "target", "label", "wrong", "shard", *(f"field:{name}" for name in slice_by)}
    assert {key.kind for key in rows} == kinds | ({"predicted", "confusion"} if task == "classes" else set())
    assert set(placed.keys) == set(rows)
    for key, expected in rows.items():
        assert placed.rows_of(key).tolist() == expected, key
    assert [placed.classes[code] for code in placed.class_codes] == classes
    assert placed.images.tolist() == [stable_hash(image_id) for image_id in table.column("image_id").to_pylist()]


@pytest.mark.parametrize("task", ["classes", "labels"])
@pytest.mark.parametrize("most", [7, 60, 5000])
def test_the_rows_chosen_are_those_of_the_least_hashes_an_image_once(task: str, most: int):
    table, slicer = random_rows(3000, most, task), Slicer(SLICE_BY)
    rows, classes = place_one_by_one(table, slicer)
    images = list(map(stable_hash, table.column("image_id").to_pylist()))
    sample = choose_rows(lambda _: iter(in_pieces(table, 512)), slicer, [*rows, Slice("label", "none")], most)
    for key, numbers in rows.items():
        first = [row for at, row in enumerate(numbers) if not at or images[row] != images[numbers[at - 1]]]
        assert sample.images[key] == len(first), key
        assert sample.chosen[key].tolist() == sorted(first, key=lambda row: images[row])[:most], key
    counted = Counter(classes[row] for row in range(len(images)) if not row or images[row] != images[row - 1])
    assert list(sample.classes.items()) == list(counted.items())
    assert sample.images[Slice("label", "none")] == len(sample.chosen[Slice("label", "none")]) == 0


def test_an_image_counts_once_in_a_slice_by_its_highest_ranked_target():
    table = random_rows(500, seed=1)
    placed = place_rows([table], Slicer())
    every = placed.images_of(Slice("all"))
    ids = table.column("image_id").to_pylist()
    assert every.tolist() == [row for row, name in enumerate(ids) if not row or ids[row - 1] != name]
    assert len(placed.rows_of(Slice("all"))) == len(placed) > len(every)
    assert sum(placed.count_classes().values()) == len(every)


def test_without_rows_there_is_nothing():
    placed = place_rows([random_rows(10, 0).slice(0, 0)], Slicer(SLICE_BY))
    assert isinstance(placed, Placed)
    assert (len(placed), placed.keys, placed.classes, placed.count_classes()) == (0, (), (), {})
    assert len(placed.images_of(Slice("all"))) == 0


def test_ids_beyond_ascii_are_hashed_like_any_text():
    ids = ["ä", "ä", "猫.jpg", "", "a" * 300, "ä"]
    chunks = pa.chunked_array([pa.array(ids[:2]), pa.array(ids[2:])])
    assert hash_images(chunks).tolist() == list(map(stable_hash, ids))
