"""How commands end: what a user can mend with 2, a fault of ours with 1, and what is done stays reported."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli, run
from pipeline.audit import compare
from pipeline.audit.thresholds import load_thresholds
from pipeline.config import AuditConfig
from pipeline.exit_code import ExitCode
from tests.night_rows import draw, make_pool
from tests.pipeline.job import pictures, png
from tests.pipeline.job import run as run_job
from tests.saved_models import smooth
from tests.shards import write_shard
from tests.stored_nights import write_rows
from transforms import storage, store, worker
from transforms.core.errors import JobError, UsageError
from transforms.core.explain.attributor import Attributor
from transforms.store import lock
from transforms.store.run import Run

FAST = {"rule": "midpoint", "steps": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture
def options(tmp_path, model) -> dict:
    uri = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(3)] + [b"x"])
    return {"input": uri, "model": model, **FAST}


def raising(error: BaseException):
    def function(*_, **__):
        raise error

    return function


@pytest.mark.parametrize(
    ("codes", "first"),
    [((), 0), ((3, 4), 4), ((4, 2), 2), ((3, 2), 2), ((2, 1), 1), ((3, 4, 1), 1), ((0, 3), 3)],
)
def test_of_several_codes_one_goes_first(codes, first):
    assert ExitCode.first(*map(ExitCode, codes)) == first
    assert ExitCode.first(*map(ExitCode, reversed(codes))) == first


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("one: wrong\ntwo: wrong"), 2, "ig-audit: one: wrong\nig-audit: two: wrong\n"),
        (PermissionError(13, "Permission denied", "x"), 2, "ig-audit: [Errno 13] Permission denied: 'x'\n"),
        (OSError("AWS Error ACCESS_DENIED during HeadObject"), 2, "ig-audit: AWS Error ACCESS_DENIED"),
        (OSError("AWS Error NETWORK_CONNECTION during HeadObject"), 1, "ig-audit: AWS Error NETWORK_CONNECTION"),
        (ConnectionRefusedError(111, "Connection refused"), 1, "ig-audit: [Errno 111] Connection refused\n"),
        (OSError(28, "No space left on device"), 2, "ig-audit: [Errno 28] No space left on device\n"),
        (JobError("a worker failed"), 1, "ig-audit: a worker failed\n"),
        (ValueError("a bug"), 1, "ig-audit: a fault of ig-audit: ValueError: a bug\nig-audit: IG_AUDIT_DEBUG=1 shows"),
        (UnicodeEncodeError("ascii", "ä", 0, 1, "no"), 1, "ig-audit: a fault of ig-audit: UnicodeEncodeError: "),
        (KeyError("name"), 1, "ig-audit: a fault of ig-audit: KeyError: 'name'\n"),
        (AssertionError(), 1, "ig-audit: a fault of ig-audit: AssertionError\n"),
    ],
)
def test_only_what_a_user_can_mend_is_unusable(error, code, told, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_verify", raising(error))
    assert cli.main(["verify", "somewhere"]) == code
    err = capsys.readouterr().err
    assert err.startswith(told) and "Traceback" not in err


def test_with_debugging_there_is_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_verify", raising(TypeError("a bug")))
    monkeypatch.setenv("IG_AUDIT_DEBUG", "1")
    assert cli.main(["verify", "somewhere"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [TypeError("a bug"), ValueError("a bug")])
def test_a_fault_deep_inside_is_ours_before_and_during_the_job(tmp_path, options, monkeypatch, capsys, error):
    with monkeypatch.context() as patch:
        patch.setattr("transforms.core.model.known_classifier.load", raising(error))
        worker._load.cache_clear()
        worker._make.cache_clear()
        assert run_job(tmp_path / "run", **options) == 1
    err = capsys.readouterr().err
    assert "a fault of ig-audit" in err and "IG_AUDIT_DEBUG=1" in err and "a bug" in err
    monkeypatch.setattr(Attributor, "attribute", raising(error))
    assert run_job(tmp_path / "run", **options) == 1
    err = capsys.readouterr().err
    assert "by a fault of ig-audit" in err and "IG_AUDIT_DEBUG=1" in err and "a bug" in err and "--resume" in err


def test_what_can_not_be_read_or_written_at_the_start_is_unusable(tmp_path, options, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert run_job(tmp_path / "file" / "run", **options) == 2  # also for root
    for function in ("create", "write_bytes"):
        monkeypatch.setattr(storage, function, raising(OSError(30, "Read-only file system", "run")))
    assert run_job(tmp_path / "run", **options) == 2
    assert "Read-only file system" in capsys.readouterr().err
    monkeypatch.setattr(storage, "read_bytes", raising(PermissionError(13, "Permission denied", "names.txt")))
    assert run_job(tmp_path / "run", class_names="names.txt", **options) == 2
    assert cli.main(["compare", str(tmp_path), str(tmp_path)]) == 2


def test_a_full_disk_in_the_middle_is_a_failed_job_that_resumes(tmp_path, options, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_manifest", raising(OSError(28, "No space left on device")))
        assert run_job(tmp_path / "run", **options) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err and "--resume" in err and "a fault" not in err
    assert run_job(tmp_path / "run", "--resume", max_error_rate=0.5, **options) == 0


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory) -> AuditConfig:
    """A finished run, one of whose five images has failed."""
    folder = tmp_path_factory.mktemp("finished")
    uri = str(write_shard(folder, "tfrecord", [png(picture) for picture in pictures(4)] + [b"x"]))
    output = str(folder / "the run")
    assert run_job(output, input=uri, model=model, max_error_rate=1, **FAST) == 0
    return AuditConfig(input=(uri,), model=model, output=output, **FAST)


def conclude(config: AuditConfig, **changes) -> ExitCode:
    with lock.hold(config.output) as held:
        return run._conclude(dataclasses.replace(config, **changes), Run.open(config.output), held, 0.0)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(28, "No space left on device")])
def test_a_report_that_fails_hides_nothing_of_the_run(finished, tmp_path, monkeypatch, capsys, error):
    night = write_rows(tmp_path / "night", draw(make_pool(800), 400, seed=1))
    reference = (night.uri,)
    judged = compare.compare(night, [night], load_thresholds(""))
    monkeypatch.setattr(run, "compare_with", lambda *_: judged)
    monkeypatch.setattr(run, "write_report", raising(error))
    (audit := Path(finished.output, "audit.json")).unlink(missing_ok=True)
    assert conclude(finished, reference=reference) == 1
    out, err = capsys.readouterr()
    assert str(error) in err and "5 images: 4 rows, 1 errors" in out
    assert f"the run is complete; continue with: ig-audit report '{finished.output}'" in err
    assert "20.0% of the images failed" in err
    assert json.loads(audit.read_text())["verdict"]["headline"] in out
    monkeypatch.setattr(run, "write_report", lambda _: None)
    assert conclude(finished, reference=reference, max_error_rate=1.0) == 0


@pytest.mark.parametrize(
    ("verdict", "max_error_rate", "code"),
    [
        (ExitCode.DRIFT, 1.0, 3),
        (ExitCode.DRIFT, 0.1, 4),
        (ExitCode.FINE, 0.1, 4),
        (UsageError("no"), 0.1, 2),
        (TypeError("a bug"), 0.1, 1),
    ],
)
def test_drift_hides_no_failing_images(finished, monkeypatch, verdict, max_error_rate, code):
    monkeypatch.setattr(run, "_judge", raising(verdict) if isinstance(verdict, Exception) else lambda *_: verdict)
    (report := Path(finished.output, "report.html")).unlink(missing_ok=True)
    assert conclude(finished, max_error_rate=max_error_rate) == code
    assert report.exists()


def test_a_run_whose_lock_is_lost_writes_no_audit_and_no_report(finished, monkeypatch):
    for name in ("audit.json", "report.html"):
        Path(finished.output, name).unlink(missing_ok=True)
    with pytest.raises(JobError, match="another run has taken over"), lock.hold(finished.output) as held:
        lock._write(f"{finished.output}/.lock", lock._this_process())
        run._conclude(finished, Run.open(finished.output), held, 0.0)
    assert not {"audit.json", "report.html"} & set(os.listdir(finished.output))
    os.remove(f"{finished.output}/.lock")


def test_a_job_that_ends_without_a_manifest_has_failed(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "define_pipeline", lambda *_: None)
    assert run_job(tmp_path / "run", input=finished.input[0], model=finished.model, **FAST) == 1
    assert "the job has ended, but wrote no manifest" in capsys.readouterr().err


def test_a_closed_or_narrow_output_changes_no_exit_code(tmp_path):
    write_rows(tmp_path / "night", draw(make_pool(400), 200, seed=1), named="猫 {}")
    command = [sys.executable, "-m", "pipeline", "compare", str(tmp_path / "night"), str(tmp_path / "night")]
    plain = subprocess.run(command, capture_output=True, check=False)
    assert plain.returncode == 0, plain.stderr
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (closed.returncode, closed.stderr) == (0, b"")
    ascii = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (ascii.returncode, ascii.stderr) == (0, b"")


def test_a_night_without_rows_ends_with_its_own_code_and_a_verdict(model, finished, tmp_path, capsys):
    nothing = str(write_shard(tmp_path, "tfrecord", []))
    output = tmp_path / "nothing"
    assert run_job(output, input=nothing, model=model, reference=finished.output, **FAST) == 4
    captured = capsys.readouterr()
    assert "the input held no image at all" in captured.err and "a fault" not in captured.err
    assert "Nothing to compare: the input held no image at all" in captured.out
    assert json.loads((output / "audit.json").read_text())["verdict"]["exit_code"] == 4
    assert (output / "report.html").exists()
    (tmp_path / "broken").mkdir()
    broken = str(write_shard(tmp_path / "broken", "tfrecord", [b"x", b"y"]))
    output = tmp_path / "all failed"
    assert run_job(output, input=broken, model=model, reference=finished.output, max_error_rate=1, **FAST) == 4
    captured = capsys.readouterr()
    assert "Nothing to compare: of 2 images, all 2 failed" in captured.out
    assert "no image could be attributed" in captured.err
    assert cli.main(["verify", str(output)]) == 0
