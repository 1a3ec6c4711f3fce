"""What is fastest is measured once per model and device, and then remembered."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.attributions import attributions, distance
from support.networks import photographs
from tests.saved_models import smooth
from transforms.core.model import calibration, classifier
from transforms.core.model.calibration import compile_calibrated
from transforms.core.model.step import CompiledStep


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth", classes=8))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ig-audit" / "batch"


def clock(monkeypatch: pytest.MonkeyPatch, rate: Callable[[CompiledStep, int], float]) -> list[tuple[int, int]]:
    """Replaces the measurement by `rate`; returns the candidates that get tried, as batch and batches in flight."""
    tried = []

    def rates(ways, clock=None, calls=1):
        step, in_flight = ways[-1]
        tried.append((step.batch, in_flight))
        return [rate(*way) for way in ways]

    monkeypatch.setattr(calibration, "SIZES", {"CPU": (4, 8, 16, 32), "GPU": (4,)})
    monkeypatch.setattr(calibration, "rates", rates)
    return tried


def by_size(rates: dict[int, float]) -> Callable[[CompiledStep, int], float]:
    """Returns a rate that depends on the batch alone; a size without one does not fit."""

    def rate(step: CompiledStep, in_flight: int) -> float:
        if step.batch not in rates:
            raise MemoryError("OOM when allocating tensor")
        return rates[step.batch]

    return rate


@pytest.mark.parametrize(
    ("found", "tried", "best"),
    [
        ({4: 10, 8: 20, 16: 15, 32: 90}, [4, 4, 8, 16, 8], 8),  # stops at the first that is slower
        ({4: 10, 8: 20, 16: 40, 32: 90}, [4, 4, 8, 16, 32, 32], 32),
        ({4: 10, 8: 20}, [4, 4, 8, 16, 8], 8),  # or does not fit
        ({4: 10, 8: 10.4}, [4, 4, 8, 4], 4),  # or gains too little for its memory
        ({2: 10, 1: 9, 8: 90}, [4, 2, 2, 2], 2),  # halves the smallest if that does not fit, and tries none above
    ],
)
def test_the_fastest_size_is_found_and_kept(model, monkeypatch, cache, found, tried, best):
    seen = clock(monkeypatch, by_size(found))
    for _ in range(2):
        calibrated = compile_calibrated(model, 2)
        assert (calibrated.step.batch, calibrated.in_flight) == (best, 2)
        assert [batch for batch, _ in seen] == tried  # the second is without the stem's cut, the last one at a time
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["batch"] == best


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_a_pass_that_makes_steps_slower_is_left_out_and_maps_stay(model, monkeypatch, factor):
    clock(monkeypatch, lambda step, in_flight: 10.0 if step.is_cut else 10.0 * factor)
    first, second = (compile_calibrated(model, 2).step for _ in range(2))
    (entry,) = (entry for entry in first.report if entry.name == "cut_stem")
    assert first.report == second.report
    assert first.is_cut == second.is_cut == entry.applied == (factor <= 1)
    assert entry.reason == ("" if entry.applied else "slower here: 10 steps a second with it, 11 without")
    images, whole = photographs(32)[:2], compile_calibrated(model, 2, batch_size=4).step
    assert whole.is_cut
    assert np.array_equal(attributions(first, images), attributions(second, images))
    assert distance(attributions(first, images), attributions(whole, images)) < 1e-5  # float32 rounding


def test_fewer_batches_at_once_are_kept_if_they_are_faster(model, monkeypatch, cache):
    clock(monkeypatch, lambda step, in_flight: 10.0 if in_flight == 1 else 9.0)
    assert [compile_calibrated(model, 4).in_flight for _ in range(2)] == [1, 1]
    clock(monkeypatch, lambda step, in_flight: 10.0 if in_flight == 1 else 10.1)
    assert compile_calibrated(model, 3).in_flight == 3


def test_no_candidate_is_begun_that_would_not_end_in_time(model, monkeypatch):
    seconds = iter(range(0, 1000, 6))
    tried = clock(monkeypatch, by_size({4: 1, 8: 2, 16: 3, 32: 4}))
    monkeypatch.setattr(calibration.time, "process_time", lambda: next(seconds))
    assert compile_calibrated(model, 2).step.batch == 4
    assert tried == [
        (4, 2),
        (4, 2),
    ]  # 6 s a look at the clock: a second candidate, begun at 18, would end late


def test_a_size_that_is_asked_for_is_not_measured(model, monkeypatch, cache):
    tried = clock(monkeypatch, by_size({}))
    calibrated = compile_calibrated(model, 2, batch_size=3)
    assert (calibrated.step.batch, calibrated.in_flight, tried) == (3, 2, [])
    assert not cache.exists()


def test_where_no_step_for_each_thread_fits_the_first_call_decides(model, monkeypatch, cache):
    seen = clock(monkeypatch, by_size({}))
    assert compile_calibrated(model, 2).step.batch == 1
    assert [batch for batch, _ in seen] == [4, 2, 1, 1]  # the last one with nothing beside
    assert not any(cache.iterdir())


def test_of_workers_that_measure_at_once_the_first_decides(model, monkeypatch, cache):
    clock(monkeypatch, by_size({4: 2, 8: 1}))
    compile_calibrated(model, 2)
    (file,) = cache.iterdir()
    file.unlink()
    other = {"batch": 16, "in_flight": 1, "left_out": [["cut_stem", "slower there"]]}

    def meanwhile(step: CompiledStep, in_flight: int) -> float:
        file.write_text(json.dumps(other))
        return 1.0

    clock(monkeypatch, meanwhile)
    calibrated = compile_calibrated(model, 2)
    assert (calibrated.step.batch, calibrated.in_flight, calibrated.step.is_cut) == (16, 1, False)
    assert json.loads(file.read_text()) == other
    assert list(cache.iterdir()) == [file]


@pytest.mark.parametrize(
    "change",
    [
        {"batch": "16"},
        {"batch": 0},
        {"batch": 100000000},
        {"in_flight": 3},
        {"in_flight": True},
        {"left_out": [["freeze", "no reason"]]},
        {"left_out": "cut_stem"},
        {"left_out": None},
        None,
    ],
)
def test_a_damaged_memory_is_measured_again(model, monkeypatch, cache, change):
    clock(monkeypatch, by_size({4: 2, 8: 1}))
    compile_calibrated(model, 2)
    (file,) = cache.iterdir()
    kept = file.read_text()
    file.write_text("[]" if change is None else json.dumps({**json.loads(kept), **change}))
    assert compile_calibrated(model, 2).step.batch == 4
    assert file.read_text() == kept


def test_where_nothing_can_be_written_it_works_all_the_same(model, monkeypatch, tmp_path):
    (tmp_path / "ig-audit").write_text("a file in the way")
    clock(monkeypatch, by_size({4: 2, 8: 1}))
    assert compile_calibrated(model, 2).step.batch == 4


@pytest.mark.parametrize("fails", ["link", "replace", "write_text"])
def test_nothing_temporary_is_left_whatever_the_file_system_refuses(model, monkeypatch, cache, fails):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    clock(monkeypatch, by_size({4: 2, 8: 1}))
    if fails == "replace":
        monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path if fails == "write_text" else os, fails, refuse)
    assert compile_calibrated(model, 2).step.batch == 4
    left = list(cache.iterdir())
    assert [file.suffix for file in left] == ([".json"] if fails == "link" else [])
    assert all(json.loads(file.read_text())["batch"] == 4 for file in left)


def test_a_rate_is_of_steps(model):
    step = compile_calibrated(model, 1).step
    assert calibration.steps_a_second(step, 1) > step.batch  # a tiny model: far more than a batch a second
