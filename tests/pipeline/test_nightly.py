"""Dated directories, and two runs that want the same one."""

from __future__ import annotations

import datetime
import json
import threading

import pytest

from tests.pipeline.job import pictures, png, run
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms.store.lock import hold

FAST = {"rule": "midpoint", "steps": 4}


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("inputs")
    uri = write_shard(folder, "tfrecord", [png(picture) for picture in pictures(3)])
    return {"input": uri, "model": smooth(folder / "model"), **FAST}


def test_a_night_is_written_into_the_directory_of_its_day(tmp_path, options, capsys):
    before = datetime.datetime.now(datetime.timezone.utc)
    assert run(tmp_path / "{date}", **options) == 0
    after = datetime.datetime.now(datetime.timezone.utc)
    (night,) = tmp_path.iterdir()
    assert night.name in (before.date().isoformat(), after.date().isoformat())
    facts = json.loads((night / "manifest.json").read_text())["facts"]
    assert facts["output"] == str(night)
    assert facts["started"].startswith(night.name)
    assert not (night / ".lock").exists()
    assert str(night) in capsys.readouterr().out
    if before.date() == datetime.datetime.now(datetime.timezone.utc).date():
        assert run(tmp_path / "{date}", **options) == 2
        assert run(tmp_path / "{date}", "--resume", **options) == 0
        assert [path.name for path in tmp_path.iterdir()] == [night.name]


def test_the_second_of_two_runs_is_refused_and_the_first_goes_on(tmp_path, options, capsys, monkeypatch):
    from transforms.core.explain.attributor import Attributor

    begun, finish, codes = threading.Event(), threading.Event(), []
    attribute = Attributor.attribute

    def slowly(*arguments, **more):
        begun.set()
        assert finish.wait(60)
        yield from attribute(*arguments, **more)

    monkeypatch.setattr(Attributor, "attribute", slowly)
    first = threading.Thread(target=lambda: codes.append(run(tmp_path / "run", **options)))
    first.start()
    assert begun.wait(60)
    assert run(tmp_path / "run", "--resume", **options) == 2
    assert "two runs cannot share a directory" in capsys.readouterr().err
    finish.set()
    first.join()
    assert codes == [0]
    assert not (tmp_path / "run" / ".lock").exists()


def test_what_ended_between_check_and_start_is_seen(tmp_path, options, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.launch.resumes", lambda *_: False)  # as if the directory had been empty then
    assert run(tmp_path / "run", **options) == 0
    assert run(tmp_path / "run", **options) == 2
    assert "holds a run; give --resume" in capsys.readouterr().err


def test_a_dead_runs_lock_does_not_stop_the_next(tmp_path, options):
    with hold(str(tmp_path / "run")):
        left = json.loads((tmp_path / "run" / ".lock").read_text())
    earlier = {**left, "process": left["process"].rpartition("/")[0] + "/1"}  # the same number, another process
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text(json.dumps(earlier))
    assert run(tmp_path / "run", "--resume", **options) == 0
