"""Each kind of model through each door, and the table of docs/models.md that says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.doors import distance, formatted, measure, oracle, pictures_of, table_of_page
from tests.pipeline.kinds_of_model import KINDS, Built, Kind

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_door_makes_the_maps_that_the_table_says(kind: Kind, tmp_path: Path) -> None:
    measured = measure(kind, tmp_path)
    assert tuple(measured) == kind.doors
    assert max(measured.values()) <= kind.bound


def test_the_table_has_these_rows_and_no_others() -> None:
    rows = [formatted(kind) for kind in KINDS]
    assert table_of_page() == rows, "`python -m tests.pipeline.doors --write` makes the table anew"


def test_another_function_than_the_model_is_far_from_it(tmp_path: Path) -> None:
    kind = named("regression")
    built = kind.build(tmp_path)

    def other(images: Any) -> Any:
        return 0.9 * built.scores(images)

    wrong = dataclasses.replace(kind, build=lambda folder: Built(built.model, other), doors=("notebook",))
    with pytest.raises(AssertionError, match=r"regression, notebook: 0\.11"):
        measure(wrong, tmp_path)


def test_mixed_precision_is_not_float32(tmp_path: Path) -> None:
    maps = []
    for name in ("mixed precision, `mixed_float16`", "Keras model in memory"):
        kind = dataclasses.replace(named(name), settings={"targets": "class:0"})
        maps.append(oracle(kind, kind.build(tmp_path), pictures_of(kind)))
    assert 1e-4 < distance(*maps) < 5e-2


def named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)
