"""What is chosen and drawn by a hash stays what it was: these values were computed before one module had them all."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.check_model import rank
from transforms.core.drift.judge import _rng
from transforms.core.explain.faithfulness import is_chosen
from transforms.core.image.baseline import parse_baselines
from transforms.core.stable_hash import cache_key, share, stable_digest, stable_hash
from transforms.core.statistics.slices import Slice
from transforms.store.sample import _code

HASHES = {"cats.tar#7": 9831709254571913623, "ü/☠#key": 15906837168385034684, "": 16476032584258269876}
DRAWS = {
    "uniform:2": "f63d9f68188551e51e2a59cd522a8c8957dea034a694dc79ca1c184272c37b82",
    "gaussian:2": "3bdf56819adc21b881c46ccb684aed22cdbf317dba9ebcab4380b9ea55b2d6a1",
}


def test_hashes_are_what_they_were():
    assert {text: stable_hash(text) for text in HASHES} == HASHES
    assert np.array([_code(text) for text in HASHES], np.uint64).view(np.int64).tolist() == [
        -8615034819137637993,
        -2539906905324516932,
        -1970711489451281740,
    ]


def test_the_same_images_are_chosen_as_before():
    assert [number for number in range(300) if is_chosen(f"cats.tar#{number}", 0.02)] == [79, 88, 180, 233, 297]
    assert [is_chosen(f"odd\udcff#{number}", 0.5) for number in range(8)] == [True] * 4 + [False] * 4


def test_the_same_parts_come_first_as_before():
    parts: list[Any] = [SimpleNamespace(chunk=f"7f160d9380899b83-{number:08d}") for number in range(8)]
    assert sorted(range(8), key=lambda number: rank(parts[number])) == [0, 2, 4, 7, 6, 1, 3, 5]


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_baselines_are_drawn_as_before(name):
    (baseline,) = parse_baselines(name)
    image = np.linspace(0, 1, 4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
    assert hashlib.sha256(baseline.make(image, "cats.tar#7").tobytes()).hexdigest() == DRAWS[name]
    assert hashlib.sha256(baseline.make(image, "cats.tar#8").tobytes()).hexdigest() != DRAWS[name]


def test_the_same_labels_are_exchanged_as_before():
    drawn = _rng(Slice("label", "3", "x"), 0).integers(2**63, size=2).tolist()
    assert drawn == [5939805977798759203, 6346175566573636945]


@given(st.integers(0, 2**64 - 1), st.floats(0, 1))
@example(2**64 - 1, 1.0)
@example(2**64 - 1, float(np.nextafter(1, 0)))
@example(2**53 + 1, (2**53 + 2) / 2**64)
def test_a_share_is_compared_as_its_hash_is(number: int, limit: float):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.core.stable_hash.stable_hash", lambda text: number)
        found = share("any")
    assert 0 <= found < 1
    assert (found < limit) == (Fraction(number, 2**64) < Fraction(limit))


def test_digests_are_of_any_size_and_keys_are_names():
    assert stable_digest("a", 8) == stable_hash("a").to_bytes(8, "big")
    assert len(stable_digest("a", 64)) == 64
    assert len(cache_key("a")) == 24
    assert cache_key("a") != cache_key("b")
