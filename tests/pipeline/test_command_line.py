"""The command line as a new user meets it: what its help shows, and what a mistake is answered with."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from pipeline import cli, config
from pipeline.command_line import flags_of, write_problem
from transforms.core.option import GROUPS

NEITHER = "is an option neither of ig-audit nor of Beam"
RUN = ["run", "--input", "x", "--model", "m", "--output", "o"]
COMMANDS = cli._parser()._subparsers._group_actions[0].choices


def refused(capsys, *words: str) -> str:
    """Returns the one line that a command is refused with."""
    try:
        code = cli.main(list(words))
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    (line,) = printed.err.splitlines()
    return line.removeprefix("ig-audit: ")


def help_of(capsys, monkeypatch, *command: str) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_every_option_is_of_a_known_group_and_in_the_help_once(capsys, monkeypatch):
    text = help_of(capsys, monkeypatch, "run")
    sections = re.split(r"^(\w+):$", text, flags=re.MULTILINE)
    names = sections[1::2]
    assert names == ["options", *GROUPS, "examples"]
    shown = {
        name: re.findall(r"^  --(\w+)", body, re.MULTILINE) for name, body in zip(names, sections[2::2], strict=True)
    }
    declared = {name: field.metadata["group"] for name, field in config.options().items()}
    found = [(name, group) for group in GROUPS for name in shown[group]]
    assert sorted(found) == sorted([*declared.items(), ("config", "running")])


def test_the_help_marks_what_is_required_and_shows_it_first(capsys, monkeypatch):
    text = help_of(capsys, monkeypatch, "run")
    assert config.required() == ["input", "model", "output"]
    for name in config.required():
        assert re.search(rf"^{name}:\n  --{name} (?:(?!  --).)*?\(required\)\n  --", text, re.MULTILINE | re.DOTALL)
    assert text.count("(required)") == 3
    assert text.startswith("usage: ig-audit run --input URI [URI ...] --model URI --output DIR [OPTION ...]\n")


def test_the_help_shows_metavars_choices_and_defaults(capsys, monkeypatch):
    text = " ".join(help_of(capsys, monkeypatch, "run").split())
    for shown in (
        "--tolerance FLOAT",
        "--input URI [URI ...]",
        "--resume [true|false]",
        "one of pad, crop, stretch; default pad",
        "default 0.05",
        "default false",
    ):
        assert shown in text


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_fits_a_terminal_and_its_examples_are_commands(capsys, monkeypatch, command):
    text = help_of(capsys, monkeypatch, *([command] if command else []))
    assert max(map(len, text.splitlines())) <= 80
    shown = re.split(r"^examples?:$", text, flags=re.MULTILINE)[1].replace("\\\n", " ")
    examples = [shlex.split(line) for line in shown.splitlines() if line.strip()]
    assert examples and (not command or any(words[1] == command for words in examples))
    for program, *words in examples:
        assert program == "ig-audit"
        options, rest = cli._parser().parse_known_args(words)
        assert not rest
        if options.command is cli._run:  # the file is not there; what it holds is stood in for
            flags = {name: value for name, value in vars(options).items() if name not in ("command", "config")}
            config.load({"input": ["x"], "model": "m", **flags})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "--tolerence", "0.1"], f"--tolerence: {NEITHER}; did you mean --tolerance?"),
        (["run", "--max-steps=9"], f"--max-steps: {NEITHER}; did you mean --max_steps?"),
        (["run", "--tol", "9"], f"--tol: {NEITHER}; did you mean --tolerance?"),
        (["run", "-tolerance", "9"], f"-tolerance: {NEITHER}; did you mean --tolerance?"),
        (["run", "--direct_num_worker=2"], f"--direct_num_worker: {NEITHER}; did you mean --direct_num_workers?"),
        (["run", "--no_use_public_ip"], f"--no_use_public_ip: {NEITHER}; did you mean --no_use_public_ips?"),
        (["run", "--no_streaming"], f"--no_streaming: {NEITHER}"),
        (["run", "--no_resume"], "--no_resume: is not an option; did you mean --resume=false?"),
        (["run", "-x"], f"-x: {NEITHER}"),
        (["run", "--json", "f"], "--json: is an option of ig-audit check, not of ig-audit run"),
        (["show", "--klnd", "mask"], "--klnd: is not an option of ig-audit show; did you mean --kind?"),
        (["show", "r", "i", "-output", "f"], "-output: is not an option of ig-audit show; did you mean --output?"),
        (["verify", "r", "--runner=x"], "--runner: is not an option of ig-audit verify"),
        (["comprae", "a", "b"], f"COMMAND: 'comprae' is not one of {', '.join(COMMANDS)}; did you mean compare?"),
        (["--verison"], "--verison: is not an option of ig-audit; did you mean --version?"),
    ],
)  # fmt: skip
def test_a_misspelt_name_is_reported_first_with_what_was_meant(capsys, monkeypatch, words, line):
    monkeypatch.setattr(config, "load", lambda flags: pytest.fail("looked at the values of options"))
    assert refused(capsys, *words) == line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "r", "i", "-o", "f", "--target", "x"], "--target: 'x' is not a whole number of at least 0"),
        (["show", "r", "i", "-o", "f", "--target", "-1"], "--target: '-1' is not a whole number of at least 0"),
        (["show", "r", "i", "-o", "f", "--percentile", "200"], "--percentile: '200' is not a number above 0"),
        (["show", "r", "i", "-o", "f", "--percentile", "nan"], "--percentile: 'nan' is not a number above 0"),
        (["show", "r", "i", "-o", "f", "--alpha", "inf"], "--alpha: 'inf' is not a number from 0 to 1"),
        (["show", "r", "i", "-o", "f", "--alpha", "-inf"], "--alpha: expected one argument"),
        (["show", "r", "i", "-o", "f", "--clip_below=100"], "--clip_below: '100' is not a number of at least 0"),
        (["show", "r", "i", "-o", "f", "--clip_above=0"], "--clip_above: '0' is not a number above 0"),
        (["show", "r", "i", "-o", "f", "--clean"], "clean: is for --kind polarity and outlines; it is tutorial"),
        (
            ["show", "r", "i", "-o", "f", "--kind=outlines", "--clip_below=9", "--clip_above=8"],
            "clip_below: 9 is not below clip_above, 8",
        ),
        (["show", "r", "i"], "required: -o/--output; see ig-audit show --help"),
        (["show", "", "i", "-o", "f"], "RUN: '' is empty"),
        (["show", "\udcff", "i", "-o", "f"], "RUN: '\\udcff' is not valid UTF-8"),
        (["compare", "a", "b", "--nights", "-1"], "--nights: '-1' is not a whole number of at least 0"),
        (["compare", "a", "b", "--nights", "1e1"], "--nights: '1e1' is not a whole number of at least 0"),
        (["compare", "a", "b", "--thresholds", ""], "--thresholds: '' is empty"),
        (["compare", "a", ""], "REFERENCE: '' is empty"),
        (["compare", "nowhere", "b"], "nowhere: does not exist"),
        (["report", "r", "--nights", "2"], "nights: applies only to a comparison; give --reference too"),
        (["report", "r", "--thresholds", "t"], "thresholds: applies only to a comparison; give --reference too"),
        (["samples", "--output", "s", "--count", "0"], "--count: '0' is not a whole number of at least 1"),
        (["samples", "--output", "s", "--shards", "0"], "--shards: '0' is not a whole number of at least 1"),
        (["samples", "--output", "s", "--format", "tfrecrod"], "--format: 'tfrecrod' is not one of tfrecord,"),
        (["samples", "--output", "s", "--seed", "3"], "seed: applies only to crops and flips; give --count too"),
        (["samples", "--output", "s", "--gzip"], "gzip: is for --format tfrecord; it is webdataset"),
        (["samples", "--output", ""], "--output: '' is empty"),
        ([*RUN, "--config", ""], "--config: '' is empty"),
        ([*RUN, "--steps"], "--steps: expected one argument"),
        ([*RUN, "--output", "\udcff"], "output: '\\udcff' is not valid UTF-8"),
        (["run", "data.tar"], "'data.tar' does not belong to an option; give shards with --input"),
        (["run", "--", "data.tar"], "'data.tar' does not belong to an option; give shards with --input"),
        (["run", "--input=x", "--"], "'--' does not belong to an option"),
        (["run", "data.tar", "--runner", "FlinkRunner"], "'data.tar' does not belong to an option"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_in_one_line_before_any_work(capsys, words, message):
    assert message in refused(capsys, *words)


def test_where_nothing_can_be_written_is_reported_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for option, *words in (
        ("-o/--output", "show", "r", "i", "-o"),
        ("-o/--output", "report", "r", "-o"),
        ("--json", "compare", "a", "b", "--json"),
        ("output", "run", "--input", "x", "--model", "m", "--output"),
        ("--output", "samples", "--output"),
    ):
        assert refused(capsys, *words, "file/x") == f"{option}: file/x: {tmp_path}/file is not a folder"
    assert refused(capsys, "show", "r", "i", "-o", ".") == "-o/--output: .: is a folder"
    assert refused(capsys, *RUN[:-1], "file") == "output: file: is a file"
    assert not write_problem("new/folder/x", folder=False) and not (tmp_path / "new").exists()
    assert not write_problem("file", folder=False) and not write_problem("s3://bucket/x", folder=True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert write_problem("new/x", folder=False) == f"no permission to write into {tmp_path}"


def test_words_with_a_dash_are_flags_unless_they_are_numbers_or_behind_two_dashes():
    words = ["a", "--b=-1", "--c", "-2.5", "-1e-3", "-inf", "-", "-d", "-my image", "--e=a b", "--", "--f"]
    assert flags_of(words) == ["--b", "--c", "-d", "--e"]


def test_help_and_misspelt_flags_need_neither_beam_nor_tensorflow():
    code = (
        "import sys, pipeline.cli\n"
        "try: pipeline.cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('apache_beam', 'matplotlib', 'scipy', 'tensorflow') if name in sys.modules])"
    )
    for words in (["--help"], ["run", "--help"], ["run", "--tolerence=1"], ["run", "x.tar"], ["show", "--x"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"
