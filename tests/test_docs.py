"""What the documentation names exists: links, commands, options, thresholds, columns."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import cli, config
from pipeline.audit.thresholds import load_thresholds
from transforms.core.explain.settings import Settings
from transforms.store import schema, tables

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
LINKED = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md"))]
LINKED += sorted(ROOT.glob("templates/*/README.md"))
COMMANDS = next(action.choices for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
FLAGS = {flag for command in COMMANDS.values() for flag in command._option_string_actions}
BEAM = {f"--{name}" for name in PipelineOptions().get_all_options()}
OTHERS = {"--phase"}  # of benchmarks
PROGRAMS = {"ig-audit": [], ".venv/bin/ig-audit": [], "./run_local.sh": ["run", "--config", "samples.yaml"]}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def split(page: Path) -> tuple[str, list[tuple[str, str]]]:
    """Returns a page's prose, and its blocks of code, fenced or indented, each with its language."""
    prose, blocks, code, language = [], [], [], None
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("```"):
            if language is None:
                language = line[3:].strip()
                continue
            blocks.append((language, "\n".join(code)))
            code, language = [], None
        elif language is not None:
            code.append(line)
        elif line.startswith("    "):
            code.append(line[4:])
        else:
            if code:
                blocks.append(("", "\n".join(code)))
                code = []
            prose.append(line)
    assert language is None, f"{page}: a fence is not closed"
    return "\n".join(prose), blocks


def commands(page: Path) -> list[list[str]]:
    """Returns the commands of ours in a page's blocks, without the program's name."""
    found = []
    for language, block in split(page)[1]:
        lines = block.replace("\\\n", " ").splitlines() if language in ("", "sh", "bash", "console") else []
        for line in lines:
            program, _, rest = line.strip().partition(" ")
            if program in PROGRAMS and not (program == "./run_local.sh" and rest.startswith("test")):
                found.append([*PROGRAMS[program], *shlex.split(rest, comments=True)])
    return found


ALL_COMMANDS = [(name_of(page), command) for page in PAGES for command in commands(page)]


def blocks_of(language: str) -> list[tuple[str, str]]:
    return [(name_of(page), block) for page in PAGES for found, block in split(page)[1] if found == language]


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", split(page)[0], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_relative_links_and_pictures_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", split(page)[0]):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}: {sorted(anchors(target))}"


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[^)#]+)", PAGES[0].read_text(encoding="utf-8")))
    assert {name_of(page) for page in PAGES[1:]} <= linked


def test_commands_are_found():
    assert {"README.md", "docs/compare.md", "docs/running.md"} <= {page for page, _ in ALL_COMMANDS}
    assert {"run", "compare", "report", "show", "verify"} <= {command[0] for _, command in ALL_COMMANDS}


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS, ids=lambda value: str(value)[:80])
def test_commands_are_understood(page, command):
    options, rest = cli._parser().parse_known_args(command)
    flags = {flag.partition("=")[0] for flag in rest if flag.startswith("--")}
    if options.command is not cli._run:
        assert not rest
        return
    assert flags <= BEAM
    assert not [word for word in rest if not word.startswith("--")]
    given = {name: value for name, value in vars(options).items() if name not in ("command", "config")}
    in_the_file = {"input": ["there"], "model": "there", "output": "there"} if "config" in options else {}
    config.load({**in_the_file, **given})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_that_are_named_exist(page):
    named = {
        flag
        for code in re.findall(r"`([^`\n]+)`", split(page)[0])
        if not code.startswith("python -m ")
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", code)
    }
    assert named <= FLAGS | BEAM | OTHERS


def test_examples_in_python_are_python():
    found = blocks_of("python")
    assert found
    for page, block in found:
        ast.parse(block, page)


def test_the_notebooks_examples_run() -> None:
    blocks = [block for language, block in split(ROOT / "docs/notebook.md")[1] if language == "python"]
    ours = [block for block in blocks if not re.search("^from (xplique|captum)", block, re.MULTILINE)]
    assert len(ours) == len(blocks) - 2 == 7
    names: dict[str, Any] = {}
    for block in ours:
        exec(compile(block, "docs/notebook.md", "exec"), names)
        assert block == ours[0] or len(block.splitlines()) <= 10  # the first makes a model and pictures
    assert names["maps"].shape == (4, 16, 16)
    assert names["attributions"].shape == (4, 16, 16, 3)


def test_examples_in_yaml_are_accepted(tmp_path):
    kinds = set()
    for _, block in blocks_of("yaml"):
        kind = block.splitlines()[0]
        path = tmp_path / "example.yaml"
        path.write_text(block, encoding="utf-8")
        if kind == "# thresholds.yaml":
            load_thresholds(str(path))
        else:
            assert kind == "# audit.yaml"
            config.load({"config": str(path), "output": "there"})
        kinds.add(kind)
    assert kinds == {"# thresholds.yaml", "# audit.yaml"}


def test_every_threshold_is_explained_with_its_default():
    defaults = yaml.safe_load(resources.files("pipeline.audit").joinpath("thresholds.yaml").read_text("utf-8"))
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]*) \|", split(ROOT / "docs/compare.md")[0], re.MULTILINE)
    explained = {name: value.strip() for names, value in rows for name in re.findall(r"[a-z_]+", names)}
    for name, value in {**defaults, **defaults["effects"]}.items():
        shown = {"effects": "see below", "alarms": f"`[{', '.join(defaults['alarms'])}]`"}.get(name, str(value))
        assert explained.get(name) == shown, name


def test_every_column_is_explained():
    text = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
    named = {name for code in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"\w+", code)}
    attributions = schema.attributions_schema(Settings(gradient=True), (8, 8, 3)).names
    of_numbers = re.compile(r"p\d\d_|[a-z0-9]+_(?=[a-z])")
    statistics = [name for name in tables.statistics_schema().names if not of_numbers.match(name)]
    missing = {*attributions, *schema.ERRORS.names, *statistics} - named
    assert not missing
