"""The batch size is measured once per model and device, and then remembered."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.saved_models import smooth
from transforms.core.model import batch_size, classifier
from transforms.core.model.batch_size import compile_calibrated


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ig-audit" / "batch"


def rates(monkeypatch, by_size: dict[int, float]) -> list[int]:
    """Replaces the clock by given rates; a size without one does not fit. Returns the sizes that get tried."""
    tried = []

    def rate(step, _):
        tried.append(step.batch)
        if step.batch not in by_size:
            raise MemoryError("OOM when allocating tensor")
        return by_size[step.batch]

    monkeypatch.setattr(batch_size, "SIZES", {"CPU": (4, 8, 16, 32), "GPU": (4,)})
    monkeypatch.setattr(batch_size, "steps_a_second", rate)
    return tried


@pytest.mark.parametrize(
    ("by_size", "tried", "best"),
    [
        ({4: 10, 8: 20, 16: 15, 32: 90}, [4, 8, 16], 8),  # stops at the first that is slower
        ({4: 10, 8: 20, 16: 40, 32: 90}, [4, 8, 16, 32], 32),
        ({4: 10, 8: 20}, [4, 8, 16], 8),  # or does not fit
        ({4: 10, 8: 10.4}, [4, 8], 4),  # or gains too little for its memory
        ({2: 10, 1: 9, 8: 90}, [4, 2], 2),  # halves the smallest if that does not fit, and tries none above
    ],
)
def test_the_fastest_size_is_found_and_kept(model, monkeypatch, cache, by_size, tried, best):
    seen = rates(monkeypatch, by_size)
    assert compile_calibrated(model, 2).batch == best
    assert seen == tried
    assert compile_calibrated(model, 2).batch == best
    assert seen == tried
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["batch"] == best


def test_where_no_step_for_each_thread_fits_the_first_call_decides(model, monkeypatch, cache):
    seen = rates(monkeypatch, {})
    assert compile_calibrated(model, 2).batch == 1
    assert seen == [4, 2, 1, 1]  # the last one with nothing beside
    assert not any(cache.iterdir())


def test_of_workers_that_measure_at_once_the_first_decides(model, monkeypatch, cache):
    rates(monkeypatch, {4: 2, 8: 1})
    compile_calibrated(model, 2)
    (file,) = cache.iterdir()
    file.unlink()

    def meanwhile(step, _):
        file.write_text('{"batch": 16}')
        return 1.0

    monkeypatch.setattr(batch_size, "steps_a_second", meanwhile)
    assert compile_calibrated(model, 2).batch == 16
    assert json.loads(file.read_text()) == {"batch": 16}
    assert list(cache.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"batch": "16"}', '{"batch": 0}', '{"batch": 100000000}'])
def test_a_damaged_memory_is_measured_again(model, monkeypatch, cache, text):
    rates(monkeypatch, {4: 2, 8: 1})
    compile_calibrated(model, 2)
    (file,) = cache.iterdir()
    file.write_text(text)
    assert compile_calibrated(model, 2).batch == 4
    assert json.loads(file.read_text())["batch"] == 4


def test_where_nothing_can_be_written_it_works_all_the_same(model, monkeypatch, tmp_path):
    (tmp_path / "ig-audit").write_text("a file in the way")
    rates(monkeypatch, {4: 2, 8: 1})
    assert compile_calibrated(model, 2).batch == 4


@pytest.mark.parametrize("fails", ["link", "replace", "write_text"])
def test_nothing_temporary_is_left_whatever_the_file_system_refuses(model, monkeypatch, cache, fails):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    rates(monkeypatch, {4: 2, 8: 1})
    if fails == "replace":
        monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path if fails == "write_text" else os, fails, refuse)
    assert compile_calibrated(model, 2).batch == 4
    left = list(cache.iterdir())
    assert [file.suffix for file in left] == ([".json"] if fails == "link" else [])
    assert all(json.loads(file.read_text())["batch"] == 4 for file in left)


def test_a_rate_is_of_steps(model):
    step = compile_calibrated(model, 1)
    assert batch_size.steps_a_second(step, 1) > step.batch  # a tiny model: far more than a batch a second
