"""Every word is said once: what implements a vocabulary has its words and no others, and so has what describes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from pipeline import config, names
from pipeline.samples import shards
from support.random_rows import make_rows
from transforms import formats
from transforms.core import vocabulary
from transforms.core.explain.settings import Settings
from transforms.core.explain.target import Targets
from transforms.core.image import baseline, resize
from transforms.core.maps import quantize
from transforms.core.model import input
from transforms.core.path import quadrature
from transforms.core.statistics.importance import summarize_rows

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("transforms", "pipeline", "support", "benchmarks") for path in (ROOT / name).rglob("*.py")]
LISTS = {
    name: value
    for name, value in vars(vocabulary).items()
    if isinstance(value, tuple) and all(isinstance(word, str) for word in value)
}


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (formats._MODULES, vocabulary.INPUT_FORMATS),
        (shards._WRITERS, vocabulary.INPUT_FORMATS),
        (resize._FITS, vocabulary.RESIZES),
        (input.SCALINGS, vocabulary.PIXELS),
        (quadrature._RULES, vocabulary.FIXED_RULES),
        (quantize._REDUCERS, vocabulary.REDUCTIONS),
        (quantize._FORMS, vocabulary.DTYPES),
        (names.KINDS, vocabulary.SLICE_KINDS),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else None,
)
def test_what_implements_a_vocabulary_has_its_words_and_no_others(functions: Collection[str], words: tuple[str, ...]):
    assert list(functions) == list(words)


def test_every_form_of_a_baseline_is_parsed_and_no_other():
    kinds = {form.partition(":")[0] for form in vocabulary.BASELINES}
    assert kinds == {*baseline._COLORS, "mean", *baseline._WITH_ARGUMENT}
    plain = [form for form in vocabulary.BASELINES if ":" not in form]
    assert [one.name for one in baseline.parse_baselines(plain)] == plain


def test_every_form_of_targets_is_parsed():
    for form in vocabulary.TARGETS:
        Targets.parse(form.replace("K", "3").replace("N", "7").replace("P", "0.5"))


@pytest.mark.parametrize("rule", vocabulary.RULES)
def test_every_rule_samples_a_path(rule: str):
    steps = {} if rule == "adaptive" else {"steps": 5}
    assert Settings(rule=rule, **steps).path_rule().start().blocks()


def test_slices_are_of_the_kinds_that_are_said():
    kinds = {key.kind for key in summarize_rows(make_rows(30))}
    others = {key.kind for key in summarize_rows(make_rows(30) | {"target_rank": [1] * 30})}
    assert kinds | others == {*vocabulary.SLICE_KINDS}


def _words(node: ast.expr) -> tuple[Any, ...]:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []
    return tuple(element.value for element in elements if isinstance(element, ast.Constant))


def test_no_module_says_a_vocabulary_again():
    assert len(LISTS) > 8
    sorted_words = {tuple(sorted(words)): name for name, words in LISTS.items()}
    again = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {sorted_words[found]}"
        for path in SOURCES
        if path.name != "vocabulary.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.expr) and (found := tuple(sorted(map(str, _words(node))))) in sorted_words
    ]
    assert again == []


def test_it_imports_nothing_of_ours_nor_anything_large():
    tree = ast.parse(Path(vocabulary.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported == {"__future__", "typing"}


def _limits() -> list[tuple[str, str, list[str], str]]:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = text[text.index("## Limits") : text.index("## Formats")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return [(limit, stated, re.findall(r"`(\w+)`", named), option) for limit, stated, named, option in rows[2:]]


def _spelled(value: Any) -> set[str]:
    """Returns the ways in which people write a limit."""
    if isinstance(value, tuple):
        return {", ".join(value)}
    units = {"": 1, " %": 0.01, " million": 10**6, " KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30}
    return {f"{value / unit:,g}{word}" for word, unit in units.items()}


@pytest.mark.parametrize(("limit", "stated", "constants", "option"), _limits())
def test_the_limits_of_security_are_those_of_the_vocabulary(limit, stated, constants, option):
    assert bool(constants) == bool(re.search(r"[0-9]|[A-Z]{3}", stated)), limit
    rest = stated
    for name in constants:
        spelled = [
            text for text in _spelled(getattr(vocabulary, name)) if re.search(rf"\b{re.escape(text)}(?!\w)", rest)
        ]
        assert spelled, f"{limit}: {stated}; {name} is {getattr(vocabulary, name)}"
        rest = rest.replace(max(spelled, key=len), "")
    assert not re.search(r"[0-9]", rest), f"{limit}: which constant is {rest}?"
    for name in re.findall(r"`([A-Z_]+)`", option):
        assert any(text in option for text in _spelled(getattr(vocabulary, name))), option


def test_the_limits_of_security_are_defaults_of_the_options_that_it_names():
    for limit, _, constants, option in _limits():
        if len(constants) == 1 and (flag := re.search(r"--(\w+)", option)) and constants != ["DECODE_SECONDS"]:
            assert getattr(config.AuditConfig, flag[1], None) == getattr(vocabulary, constants[0]), limit
