"""`--effort`: what it sets, that explicit options win wherever they are, and that only the effective options count."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pipeline import config
from pipeline.audit.references import check_comparable
from pipeline.config import ConfigError
from pipeline.effort import preset
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_tar
from tests.stored_run import write_run
from transforms.core.explain.settings import Settings
from transforms.core.vocabulary import REFERENCE_COLUMNS
from transforms.store.run import Run

GIVEN = {"input": ["there"], "model": "m", "output": "o"}
AUDIT = {"rule": "shifted", "steps": 8, "reference_share": 0.02, "channels": "none"}


def loaded(**flags: object) -> dict[str, object]:
    found = config.load({**GIVEN, **flags})
    return {name: getattr(found, name) for name in AUDIT}


def test_a_map_is_the_default_and_sets_nothing():
    assert loaded() == loaded(effort="map") == {name: getattr(Settings(), name) for name in AUDIT}
    assert config.load(GIVEN).effort_facts() == {"effort": "map", "set": {}}


def test_an_audit_takes_few_steps_and_stores_no_maps():
    assert loaded(effort="audit") == AUDIT
    assert config.load({**GIVEN, "effort": "audit"}).effort_facts() == {"effort": "audit", "set": AUDIT}


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ({"steps": "4"}, {"steps": 4}),
        ({"reference_share": "0"}, {"reference_share": 0.0}),
        ({"channels": "sum", "dtype": "int8"}, {"channels": "sum"}),
        ({"dtype": "int8"}, {"channels": "all"}),
        ({"gradient": True}, {"channels": "all"}),
        ({"rule": "shifted"}, {}),
        ({"rule": "adaptive"}, {"rule": "adaptive", "steps": None, "reference_share": 0.0}),
        ({"rule": "adaptive", "max_steps": "99"}, {"rule": "adaptive", "steps": None, "reference_share": 0.0}),
        ({"rule": "midpoint", "steps": "20"}, {"rule": "midpoint", "steps": 20, "reference_share": 0.0}),
        ({"tolerance": "0.1", "max_steps": "99"}, {}),
    ],
)
def test_explicit_options_win_as_flags_and_in_a_file(tmp_path, flags, changed):
    assert loaded(effort="audit", **flags) == AUDIT | changed
    for in_file, on_the_line in (({"effort": "audit", **flags}, {}), (flags, {"effort": "audit"})):
        (tmp_path / "audit.yaml").write_text(json.dumps(in_file))
        assert loaded(config=str(tmp_path / "audit.yaml"), **on_the_line) == AUDIT | changed


def test_what_a_file_leaves_empty_is_not_given(tmp_path):
    (tmp_path / "audit.yaml").write_text("effort: audit\nrule:\nsteps:\n")
    found = config.load({**GIVEN, "config": str(tmp_path / "audit.yaml")})
    assert (found.rule, found.steps) == ("shifted", 8)


def test_the_effective_options_shape_a_run_and_not_the_word():
    audit, same = config.load({**GIVEN, "effort": "audit"}), config.load({**GIVEN, **AUDIT})
    assert audit.shaping() == same.shaping()
    assert "effort" not in audit.shaping()


def test_another_effort_is_refused():
    with pytest.raises(ConfigError, match="effort: 'night' is not one of map, audit"):
        config.load({**GIVEN, "effort": "night"})
    assert preset("night") == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": "none", "gradient": True}, "gradient: True is to be shown beside the map"),
        ({"channels": "none", "dtype": "int8"}, "dtype: 'int8' is the type of the stored map"),
    ],
)
def test_options_of_stored_maps_are_refused_without_any(options, words):
    with pytest.raises(ConfigError, match=words):
        config.load({**GIVEN, **options})


@pytest.mark.parametrize(
    ("here", "there", "remedy"),
    [
        (AUDIT, {}, "make the reference again with --effort audit, or the candidate with --rule adaptive"),
        ({}, AUDIT, "make the reference again with --rule adaptive, or the candidate with --effort audit"),
        (AUDIT | {"steps": 4}, {}, "make the reference again with --rule shifted --steps 4, or"),
        (AUDIT | {"steps": 4}, AUDIT, "make the reference again with --steps 4, or the candidate with --effort audit"),
    ],
)
def test_a_reference_of_another_effort_is_refused_with_the_remedy(tmp_path, here, there, remedy):
    run_uri = str(tmp_path / "reference")
    provenance = write_run(run_uri).provenance
    manifest = json.loads((tmp_path / "reference" / "manifest.json").read_text())
    manifest["config"] |= there
    (tmp_path / "reference" / "manifest.json").write_text(json.dumps(manifest))
    candidate = dataclasses.replace(provenance, config={**provenance.config, **here})
    with pytest.raises(ValueError, match=remedy):
        check_comparable(candidate, [Run.open(run_uri)])


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    write_tar(folder / "a.tar", {f"{number}.png": png(picture) for number, picture in enumerate(pictures(9))})
    model = smooth(folder / "model")
    assert run(folder / "run", input=folder / "a.tar", model=model, effort="audit", reference_share=0.5) == 0
    return folder


def test_an_audit_stores_no_maps_and_says_what_it_is(audited, capsys):
    rows = rows_of(audited / "run")
    assert len(rows) == 9
    assert not {"attribution", "scale"}.intersection(rows[0])
    assert {*REFERENCE_COLUMNS, "second_cells", "cells", "thumbnail", "path"} <= set(rows[0])
    assert {row["steps"] for row in rows} == {8}
    facts = json.loads((audited / "run" / "manifest.json").read_text())["facts"]
    assert facts["effort"] == {"effort": "audit", "set": {name: AUDIT[name] for name in ("rule", "steps", "channels")}}
    assert run(audited / "again", input=audited / "a.tar", model=audited / "model", effort="audit") == 0
    assert "effort audit: rule shifted, steps 8, reference_share 0.02, channels none" in capsys.readouterr().err
