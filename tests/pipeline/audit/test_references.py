"""Which runs a run is compared with, and whether it can be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.audit.references import INCOMPARABLE, check_channels, check_comparable, find_references
from tests import stored_run
from tests.stored_run import CHUNKS, write_chunk, write_run
from transforms import store
from transforms.store.run import Run

DAYS = ("18", "19", "20", "21")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of finished runs, whose names do not follow their days, and of an unfinished one."""
    folder = tmp_path_factory.mktemp("references")
    for name, day in zip("badc", DAYS, strict=True):
        manifest = write_run(str(folder / name))
        store.write_manifest(str(folder / name), dataclasses.replace(manifest, created=f"2026-11-{day}T22:00:00+00:00"))
    write_chunk(str(folder / "unfinished"), CHUNKS[0])
    return folder


def names(runs: list[Run]) -> str:
    return "".join(run.name for run in runs)


def test_a_folder_of_runs_is_taken_by_their_times(folder):
    assert names(find_references([str(folder)])) == "badc"
    assert names(find_references([str(folder)], most=2)) == "dc"
    assert names(find_references([str(folder)], exclude=f"{folder}/d/")) == "bac"
    assert names(find_references([f"{folder}/c", str(folder), f"{folder}/b"])) == "badc"


def test_a_run_named_itself_is_taken_though_it_is_excluded_from_folders(folder):
    assert names(find_references([f"{folder}/c"], exclude=f"{folder}/c")) == "c"


def test_each_manifest_is_read_once(folder, monkeypatch):
    read = []
    from_json = store.Manifest.from_json
    monkeypatch.setattr(store.Manifest, "from_json", lambda data: read.append(data) or from_json(data))
    runs = find_references([str(folder)])
    check_comparable(runs[0].manifest.provenance, runs)
    assert len(read) == len(set(read)) == 4


def test_what_holds_no_finished_run_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"unfinished/manifest\.json: no manifest"):
        find_references([f"{folder}/unfinished"])
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: the folder holds no run"):
        find_references([str(tmp_path)])
    write_run(str(tmp_path / "only"))
    with pytest.raises(FileNotFoundError, match="no finished run to compare with"):
        find_references([str(tmp_path)], exclude=f"{tmp_path}/only")


@pytest.mark.parametrize("name", [*INCOMPARABLE, "steps"])
def test_only_options_that_decide_what_a_number_means_make_runs_incomparable(folder, name):
    runs = find_references([str(folder)], most=1)
    provenance = runs[0].manifest.provenance
    check_comparable(provenance, runs)
    other = dataclasses.replace(provenance, config={**provenance.config, name: "other"})
    if name in INCOMPARABLE:
        with pytest.raises(ValueError, match=f"{name}: .* in {runs[0].uri}, 'other' in the candidate"):
            check_comparable(other, runs)
    else:
        check_comparable(other, runs)


def test_an_option_that_an_earlier_version_did_not_have_is_its_default(folder):
    runs = find_references([str(folder)], most=1)
    provenance = runs[0].manifest.provenance
    defaults = {"layer": "", "value_range": "", "alpha_color": "black"}
    earlier = {name: value for name, value in provenance.config.items() if name not in defaults}
    check_comparable(dataclasses.replace(provenance, config={**earlier, **defaults}), runs)
    check_comparable(dataclasses.replace(provenance, config=earlier), runs)


def test_models_of_other_channels_are_incomparable(folder, tmp_path, monkeypatch):
    color = Run.open(f"{folder}/a")
    check_channels(color, [Run.open(f"{folder}/b")])
    monkeypatch.setattr(stored_run, "SHAPE", (*stored_run.SHAPE[:2], 1))
    write_run(str(tmp_path / "gray"))
    with pytest.raises(ValueError, match=rf"images have 3 channels in {color.uri}, 1 in the candidate"):
        check_channels(Run.open(str(tmp_path / "gray")), [color])
