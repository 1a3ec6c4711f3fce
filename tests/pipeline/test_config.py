"""Options are checked as a whole, before any work, with a message for each that is wrong."""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys

import pytest

from pipeline import config
from pipeline.config import AuditConfig, ConfigError
from transforms import storage

GIVEN = {"input": ["a.tfrecord"], "model": "m", "output": "o"}


def test_defaults_are_the_contract():
    audit = config.load(GIVEN)
    shaping = audit.shaping()
    assert audit.input == ("a.tfrecord",)
    wanted = {
        "input_format": "auto",
        "resize": "pad",
        "pixels": "unit",
        "targets": "top1",
        "score": "probability",
        "baseline": "black",
        "rule": "adaptive",
        "tolerance": 0.05,
        "channels": "all",
        "dtype": "float16",
        "chunk_images": 256,
    }
    assert {name: shaping[name] for name in wanted} == wanted
    assert (audit.batch_size, audit.max_error_rate) == ("auto", 0.01)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("resize", "squash", "pad, crop, stretch"),
        ("pixels", "rgb", "unit, signed, byte"),
        ("targets", "best", "top1, topK"),
        ("score", "loss", "probability, logit, log_odds, or module:function"),
        ("baseline", "purple", "black"),
        ("baseline", "blur:x", "blur"),
        ("rule", "romberg", "adaptive, midpoint"),
        ("channels", "rgb", "all, sum"),
        ("dtype", "float64", "float16, float32, int8"),
        ("grid", "9", "8, 16, 32"),
        ("tolerance", "0", "at least"),
        ("tolerance", "nan", "at least"),
        ("max_steps", "3", "at least"),
        ("max_steps", "100001", "1 to 100000"),
        ("chunk_images", "1e3", "whole number"),
        ("input", "", "empty"),
        ("class_names", "\udcff", "UTF-8"),
        ("fields", "a\0b", "NUL"),
        ("chunk_images", "0", "at least"),
        ("chunk_images", "many", "whole number"),
        ("batch_size", "0", "auto"),
        ("max_error_rate", "2", "0 to 1"),
        ("input_size", "224", "HEIGHTxWIDTH"),
        ("input_format", "zip", "tfrecord"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(option, value, allowed):
    with pytest.raises(ConfigError) as error:
        config.load({**GIVEN, option: value})
    (line,) = str(error.value).splitlines()
    assert option in line and allowed in line


def test_every_problem_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        config.load({"resize": "x", "dtype": "y"})
    named = [line.partition(":")[0] for line in str(error.value).splitlines()]
    assert named == ["input", "model", "output", "resize", "dtype"]


def test_steps_belong_to_a_fixed_rule_and_max_steps_to_the_adaptive():
    with pytest.raises(ConfigError, match="steps: 50 is for a fixed rule"):
        config.load({**GIVEN, "steps": "50"})
    with pytest.raises(ConfigError, match="max_steps: 99 is for rule adaptive"):
        config.load({**GIVEN, "rule": "midpoint", "max_steps": "99"})
    with pytest.raises(ConfigError, match="odd"):
        config.load({**GIVEN, "rule": "simpson", "steps": "50"})
    assert config.load({**GIVEN, "rule": "simpson", "steps": "51"}).steps == 51


def test_steps_that_no_machine_could_prepare_are_refused_at_once():
    with pytest.raises(ConfigError, match="steps: 1000000000 is not a number from 1 to 100000"):
        config.load({**GIVEN, "rule": "midpoint", "steps": "1000000000"})
    with pytest.raises(ConfigError, match="steps: 1001 is not a number from 2 to 1000, for rule gauss_legendre"):
        config.load({**GIVEN, "rule": "gauss_legendre", "steps": "1001"})
    assert config.load({**GIVEN, "rule": "midpoint", "steps": "1001"}).steps == 1001


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nights": "3"}, "nights: applies only to a comparison; give --reference too"),
        ({"thresholds": "t.yaml"}, "thresholds: applies only to a comparison; give --reference too"),
        ({"input_format": "webdataset", "mask_feature": "m"}, "mask_feature: is for input_format tfrecord; it is webd"),
        (
            {"input_format": "tfrecord", "image_column": "m"},
            "image_column: is for input_format parquet; it is tfrecord",
        ),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        config.load({**GIVEN, **given})
    config.load({**GIVEN, **given, "reference": ["r"], "input_format": "auto"})


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "audit.yaml"
    path.write_text("input: [a, b]\nmodel: m\noutput: o\nresize: crop\ntolerance: 0.1\nresume: true\n")
    audit = config.load({"config": str(path), "resize": "stretch"})
    assert (audit.input, audit.resize, audit.tolerance, audit.resume) == (("a", "b"), "stretch", 0.1, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resise: pad", "did you mean resize"),
        ("- a", "mapping"),
        ("a: [", "config"),
        ("resume: perhaps", "true or false"),
        ("dtype: {a: b}", "not one value"),
        ("fields: {a: b}", "not a list of names"),
        ("fields: [a, null]", "not a list of names"),
        ("dtype: !!python/object/apply:os.getcwd []", "config"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    path = tmp_path / "audit.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        config.load({**GIVEN, "config": str(path)})


def test_an_option_without_a_value_in_the_file_has_its_default(tmp_path):
    path = tmp_path / "audit.yaml"
    path.write_text("tolerance:\nreference:\nresume:\nclass_names:\n")
    assert config.load({**GIVEN, "config": str(path)}) == config.load(GIVEN)


def test_the_digest_is_of_what_shapes_a_row():
    first = config.load(GIVEN)
    assert config.digest(first.shaping(), model="m") == config.digest(
        config.load({**GIVEN, "output": "elsewhere", "max_error_rate": "0.5"}).shaping(), model="m"
    )
    for other in ({"dtype": "int8"}, {"tolerance": "0.1"}, {"chunk_images": "64"}, {"label_column": "y"}):
        assert config.digest(config.load({**GIVEN, **other}).shaping(), model="m") != config.digest(
            first.shaping(), model="m"
        )
    assert config.digest(first.shaping(), model="m") != config.digest(first.shaping(), model="n")


def test_the_parts_hold_the_same_values():
    audit = config.load({**GIVEN, "dtype": "int8", "chunk_images": "64"})
    assert isinstance(audit, AuditConfig)
    assert audit.settings().dtype == "int8"
    assert audit.read_options().chunk_images == 64


def test_an_option_error_is_one_line_without_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--input", "x", "--model", "m", "--output", "o", "--dtype", "int4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "ig-audit: dtype: 'int4' is not one of float16, float32, int8\n"


def test_option_checks_import_neither_beam_nor_tensorflow():
    code = (
        "import sys, pipeline.cli, pipeline.launch\n"
        "print([m for m in ('tensorflow', 'apache_beam') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_date_goes_into_the_output_once_and_no_other_brace():
    audit = config.load({**GIVEN, "output": "gs://b/nights/{date}/"})
    day = datetime.date(2026, 11, 21)
    assert audit.dated(day).output == "gs://b/nights/2026-11-21/"
    assert audit.dated(day).dated(datetime.date(2027, 1, 1)) == audit.dated(day)
    for output in ("runs/{time}", "runs/{date", "runs/{{date}}", "runs/{}"):
        with pytest.raises(ConfigError, match=r"output: .*the only braces allowed are {date}"):
            config.load({**GIVEN, "output": output})


def test_a_flag_may_say_true_or_false_as_the_file_does():
    parser = argparse.ArgumentParser()
    config.add_arguments(parser)
    for flags, wanted in (
        (["--resume"], True),
        (["--resume", "true"], True),
        (["--resume=True"], True),
        (["--resume=false"], False),
        ([], False),
    ):
        assert config.load({**GIVEN, **vars(parser.parse_args(flags))}).resume is wanted
    with pytest.raises(ConfigError, match="resume: 'no' is not true or false"):
        config.load({**GIVEN, **vars(parser.parse_args(["--resume=no"]))})


def test_the_file_may_lie_in_a_store(tmp_path):
    filesystem, path = storage.resolve(f"mock://{tmp_path.name}/options")
    filesystem.create_dir(path)
    storage.write_bytes(f"mock://{tmp_path.name}/options/a.yaml", b"resize: crop")
    assert config.load({**GIVEN, "config": f"mock://{tmp_path.name}/options/a.yaml"}).resize == "crop"
