"""`refine` adds converged maps of chosen pictures to a finished run: the right maps, of the right pictures, once."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import run as run_module
from pipeline.cli import main
from pipeline.refine.record import Recorder
from pipeline.show import draw
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_shard
from tests.stored_run import drop_maps
from transforms.core.maps.quantize import restore
from transforms.core.maps.render import attribution_mask, clip_percentile, colorize
from transforms.store import lock
from transforms.store.files import describe_file
from transforms.store.lookup import stack
from transforms.store.refined import Refined, write_refined
from transforms.store.run import Run

COUNT = 11
NAMES = ("ant", "bee", "cat", "dog", "eel")
FEW = {"rule": "midpoint", "steps": 2, "chunk_images": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> str:
    images = [png(picture) for picture in pictures(COUNT)]
    labels = [NAMES[number % 5] for number in range(COUNT)]
    return str(write_shard(tmp_path_factory.mktemp("input"), "webdataset", images, labels))


@pytest.fixture(scope="module")
def options(tmp_path_factory, model, shard) -> dict[str, object]:
    names = tmp_path_factory.mktemp("names") / "names.txt"
    names.write_text("\n".join(NAMES))
    return {"input": shard, "model": model, "class_names": names, "targets": "label"}


@pytest.fixture(scope="module")
def first(tmp_path_factory, options) -> Path:
    folder = tmp_path_factory.mktemp("first") / "run"
    assert run(folder, **options, **FEW) == 0
    return folder


@pytest.fixture
def few(tmp_path, first) -> Path:
    """A run of two steps, whose labels are names, in chunks of four images."""
    return Path(shutil.copytree(first, tmp_path / "few"))


def refine(folder: Path, *arguments: object) -> int:
    return main(["refine", str(folder), *map(str, arguments)])


def refined(folder: Path) -> Refined:
    found = Run.open(str(folder)).refined
    assert found
    return found


def names_of(folder: Path, table: str = "attributions") -> set[str]:
    """Returns the names of the pictures that are stored."""
    return {row["image_id"].rpartition("#")[2] for row in rows_of(folder / "refined", table)}


def failed_in(folder: Path) -> set[str]:
    """Returns the names of the pictures whose last attempt failed."""
    return {image_id.rpartition("#")[2] for part in refined(folder).manifest.parts for image_id in part.failed}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_maps_of_the_page_are_those_of_a_run_to_tolerance(tmp_path, options, few, monkeypatch, capsys):
    assert run(tmp_path / "converged", **options, tolerance=0.02, chunk_images=4) == 0
    before = rows_of(few)
    assert refine(few, "--report", "--tolerance", "0.02") == 0
    assert f"{few}/refined: {COUNT} pictures refined to a tolerance of 0.02" in capsys.readouterr().out
    assert main(["verify", str(few)]) == 0
    rows = rows_of(few / "refined")
    wanted = rows_of(tmp_path / "converged")
    assert [row["image_id"] for row in rows] == [row["image_id"] for row in wanted]
    for row, own, other in zip(rows, before, wanted, strict=True):
        # float16 keeps 11 bits, and batches of other images change rounding
        found, direct, rough = (restore(each["attribution"], each["scale"]) for each in (row, other, own))
        assert np.abs(found - direct).sum() < 2e-3 * np.abs(direct).sum()
        assert np.abs(rough - direct).sum() > 5 * np.abs(found - direct).sum()  # so that it is not the run's map
        assert row["converged"] and row["steps"] == other["steps"] > own["steps"] == 2
        kept = ("target", "target_name", "label", "label_name", "content", "predictions", "fields", "index", "shard")
        assert {name: row[name] for name in kept} == {name: own[name] for name in kept}
        assert row["grid"] == pytest.approx(other["grid"], abs=1e-5)
    page = (few / "report.html").read_text()
    assert page.count("refined map, converged to 2 % in") >= COUNT and "map of 2 steps" not in page
    panels = []
    monkeypatch.setattr(draw, "draw_panels", lambda given, caption, columns: panels.extend(given) or caption.encode())
    assert main(["show", str(few), rows[0]["image_id"], "-o", str(tmp_path / "caption")]) == 0
    values = refined(few).maps([rows[0]["image_id"]])[rows[0]["image_id"]]
    np.testing.assert_array_equal(panels[2].picture, colorize(clip_percentile(attribution_mask(values)), "inferno"))
    assert "refined map, converged to 2 % in" in (tmp_path / "caption").read_text()


def test_the_page_says_which_maps_are_of_few_steps(few):
    assert refine(few, "--images", "a.tar#0004") == 0
    assert main(["report", str(few)]) == 0
    page = (few / "report.html").read_text()
    assert "refined map, converged to 5 % in" in page and "map of 2 steps, error about" in page


def test_a_second_call_adds_and_the_same_call_changes_nothing(few):
    assert refine(few, "--images", "a.tar#0001", "a.tar#0009") == 0
    one = files(few / "refined")
    assert refine(few, "--images", "a.tar#0009", "a.tar#0002") == 0
    two = files(few / "refined")
    assert {name: two[name] for name in one if "part-" in name} == {name: one[name] for name in one if "part-" in name}
    assert sorted(refined(few).maps([f"a.tar#{number:04d}" for number in range(COUNT)])) == [
        "a.tar#0001",
        "a.tar#0002",
        "a.tar#0009",
    ]
    assert refine(few, "--images", "a.tar#0009", "a.tar#0002") == 0
    assert files(few / "refined") == two
    assert main(["verify", str(few)]) == 0


def test_other_options_make_maps_anew(few):
    ids = ["a.tar#0001", "a.tar#0002", "a.tar#0009"]
    assert refine(few, "--images", *ids) == 0
    assert refine(few, "--images", *ids[:2], "--dtype", "int8", "--channels", "sum", "--tolerance", "0.01") == 0
    assert {name: values.shape for name, values in refined(few).maps(ids).items()} == {
        ids[0]: (32, 32),
        ids[1]: (32, 32),
        ids[2]: (32, 32, 3),
    }
    found = {each.row["image_id"]: each.part.options for each in refined(few).find(ids, ())}
    assert [found[name].tolerance for name in ids] == [0.01, 0.01, 0.05]
    assert len(list((few / "refined" / "attributions").iterdir())) == 2  # that of the two is gone
    assert main(["verify", str(few)]) == 0
    with pytest.raises(ValueError, match="different shapes"):
        stack(list(refined(few).maps(ids).values()))


def test_a_slice_is_sampled_by_content_whatever_the_chunks(tmp_path, options, few):
    assert run(tmp_path / "other", **options, **{**FEW, "chunk_images": 256}) == 0
    for folder in (few, tmp_path / "other"):
        assert refine(folder, "--slice", "all", "--limit", "3") == 0
    ids, others = ({row["image_id"] for row in rows_of(folder / "refined")} for folder in (few, tmp_path / "other"))
    assert ids == others and len(ids) == 3
    assert refine(few, "--slice", "label:cat") == 0
    assert {row["image_id"] for row in rows_of(few / "refined")} == ids | {"a.tar#0002", "a.tar#0007"}
    assert refine(few, "--slice", "label:3") == 0
    assert {"a.tar#0003", "a.tar#0008"} < {row["image_id"] for row in rows_of(few / "refined")}


def test_another_picture_of_the_same_name_is_an_error_and_no_map(tmp_path, model, capsys):
    folder = write_shard(tmp_path, "files", [png(picture) for picture in pictures(5)])
    assert run(tmp_path / "run", input=folder, model=model, **FEW) == 0
    own = (folder / "0001.jpg").read_bytes()
    (folder / "0001.jpg").write_bytes(png(pictures(1, seed=9)[0]))
    (folder / "0004.jpg").unlink()
    assert refine(tmp_path / "run", "--slice", "all") == 4
    told = capsys.readouterr()
    assert "3 pictures refined to a tolerance of 0.05, 2 failed" in told.out
    assert "0001.jpg: stage read, ChangedError: the picture has changed since the run" in told.err
    assert names_of(tmp_path / "run") == {"0000.jpg", "0002.jpg", "0003.jpg"}
    assert names_of(tmp_path / "run", "errors") == failed_in(tmp_path / "run") == {"0001.jpg", "0004.jpg"}
    assert main(["verify", str(tmp_path / "run")]) == 0
    (folder / "0001.jpg").write_bytes(own)
    assert refine(tmp_path / "run", "--slice", "all") == 4
    assert names_of(tmp_path / "run") == {"0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"}
    assert failed_in(tmp_path / "run") == {"0004.jpg"}
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_a_shard_that_is_gone_fails_each_of_its_pictures(tmp_path, model, shard, capsys):
    copy = tmp_path / "a.tar"
    shutil.copy(shard, copy)
    assert run(tmp_path / "run", input=copy, model=model, **FEW) == 0
    copy.unlink()
    assert refine(tmp_path / "run", "--images", "a.tar#0001", "a.tar#0006") == 4
    told = capsys.readouterr().err
    assert (
        "a.tar#0001: stage read, RefusedError" in told and "a.tar#0006: stage read" in told and "--resume" not in told
    )
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--images", "a.tar#12"], "a.tar#12: no such image in"),
        (["--slice", "labell:cat"], "slice: 'labell:cat' is no slice of this run"),
        (["--slice", "label:cow"], "slice: 'label:cow' is no slice of this run; did you mean label:dog?"),
        (["--report", "--limit", "5"], "limit: 5 applies only to a slice"),
        (["--report", "--tolerance", "0"], "'0' is not a number of at least 1e-6"),
        (["--report", "--channels", "none"], "'none' is not one of all"),
        (["--report", "--model", "nowhere"], "model: nowhere: no such file or folder"),
        (["--report", "--slice", "wrong"], "not allowed with argument"),
        ([], "one of the arguments --images --slice --report is required"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(few, arguments, told, capsys):
    try:
        code = refine(few, *arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert told in capsys.readouterr().err
    assert not (few / "refined").exists()


def test_only_a_finished_run_that_nobody_writes_is_refined(few, capsys):
    with lock.hold(str(few)):
        assert refine(few, "--report") == 2
    assert "two runs cannot share a directory" in capsys.readouterr().err
    (few / "manifest.json").unlink()
    assert refine(few, "--report") == 2
    assert "the run is unfinished" in capsys.readouterr().err
    assert not (few / "refined").exists()


def test_the_model_may_have_moved_but_must_be_the_same(tmp_path, shard, model, capsys):
    shutil.copytree(model, tmp_path / "model")
    assert run(tmp_path / "run", input=shard, model=tmp_path / "model", **FEW) == 0
    (tmp_path / "model").rename(tmp_path / "moved")
    other = smooth(tmp_path / "other", classes=4)
    assert refine(tmp_path / "run", "--images", "a.tar#0001") == 2
    assert "--model says where it lies now" in capsys.readouterr().err
    assert refine(tmp_path / "run", "--images", "a.tar#0001", "--model", other) == 2
    assert "a refined map must be of the same model" in capsys.readouterr().err
    assert refine(tmp_path / "run", "--images", "a.tar#0001", "--model", tmp_path / "moved") == 0
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_an_interrupted_call_is_continued_by_the_same_call(few, monkeypatch, capsys):
    written: list[str] = []

    def failing(after: int, write: Callable[..., object] = Recorder.write) -> Callable[..., object]:
        def wrapped(self: Recorder, task: object, *others: object) -> object:
            if len(written) == after:
                raise KeyboardInterrupt
            written.append(task.part.chunk)  # type: ignore[attr-defined]
            return write(self, task, *others)

        return wrapped

    monkeypatch.setattr(Recorder, "write", failing(after=2))
    assert refine(few, "--slice", "all") == 1
    assert "interrupted; the same command continues" in capsys.readouterr().err
    left = files(few / "refined")
    assert len(left) == 2 and Run.open(str(few)).refined is None
    assert main(["verify", str(few)]) == 1
    assert "refined/manifest.json: is missing: a call of `ig-audit refine` was interrupted" in capsys.readouterr().out
    monkeypatch.setattr(Recorder, "write", failing(after=9))
    assert refine(few, "--slice", "all") == 0
    assert len(written) == len(set(written)) == 3  # a part each, none of them twice
    assert len(refined(few).maps([f"a.tar#{number:04d}" for number in range(COUNT)])) == COUNT
    assert {name: files(few / "refined")[name] for name in left} == left
    assert main(["verify", str(few)]) == 0


def test_maps_of_a_run_of_other_options_do_not_count(few, capsys):
    assert refine(few, "--images", "a.tar#0001") == 0
    path = few / "refined" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "run_digest": "another"}))
    assert Run.open(str(few)).refined is None
    assert main(["verify", str(few)]) == 1
    assert "refined/manifest.json: is of a run of other options" in capsys.readouterr().out
    assert refine(few, "--images", "a.tar#0001") == 0
    assert main(["verify", str(few)]) == 0


def test_a_damaged_manifest_is_named(few, capsys):
    assert refine(few, "--images", "a.tar#0001") == 0
    (few / "refined" / "manifest.json").write_text('{"version": 1}')
    for command in (["report", few], ["show", few, "a.tar#0001", "-o", few / "x.png"], ["refine", few, "--report"]):
        assert main(list(map(str, command))) == 2
        assert "refined/manifest.json: not a manifest of refined maps: it has no entry" in capsys.readouterr().err


def test_a_run_without_maps_shows_those_that_are_refined(few, capsys):
    drop_maps(str(few))
    assert main(["show", str(few), "a.tar#0003", "-o", str(few / "x.png")]) == 2
    assert "--images 'a.tar#0003' adds this one" in capsys.readouterr().err
    assert refine(few, "--images", "a.tar#0003") == 0
    assert main(["show", str(few), "a.tar#0003", "-o", str(few / "x.png")]) == 0
    assert Run.open(str(few)).maps(["a.tar#0003"]).shape == (1, 32, 32, 3)
    assert refine(few, "--report") == 0
    page = (few / "report.html").read_text()
    assert "no map is stored" not in page and page.count("refined map, converged to 5 % in") >= COUNT
    assert main(["verify", str(few)]) == 0


def test_a_run_of_few_steps_refines_what_its_page_shows(tmp_path, options, monkeypatch, capsys):
    shifted = {**options, "rule": "shifted", "steps": 3}
    assert run(tmp_path / "run", **shifted) == 0
    shown = len(refined(tmp_path / "run").manifest.parts[0].images)
    assert f"{tmp_path}/run/refined: {shown} pictures refined to a tolerance of 0.05" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("refined map, converged to 5 % in") >= shown >= 8 and "noisy on its own" not in page
    assert main(["verify", str(tmp_path / "run")]) == 0

    def refuse(*_: object) -> None:
        raise MemoryError("no room for a second model")

    monkeypatch.setattr(run_module, "refine_held", refuse)
    assert run(tmp_path / "second", **options, effort="audit") == 0
    told = capsys.readouterr().err
    assert "no room for a second model" in told
    assert f"the run is complete; continue with: ig-audit refine {tmp_path}/second --report" in told
    page = (tmp_path / "second" / "report.html").read_text()
    assert "No maps are stored; ig-audit refine" in page and "no map is stored" in page
    monkeypatch.undo()
    assert run(tmp_path / "second", "--resume", **options, effort="audit") == 0
    page = (tmp_path / "second" / "report.html").read_text()
    assert page.count("refined map, converged to 5 % in") >= 8 and "no map is stored" not in page
    assert main(["verify", str(tmp_path / "second")]) == 0


def test_a_run_to_tolerance_refines_nothing(tmp_path, options):
    assert run(tmp_path / "run", **options) == 0
    assert not (tmp_path / "run" / "refined").exists()


def _forge(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes the rows of the first refined part, and lists the changed file, as one who covers traces would."""
    found = refined(folder)
    part = found.manifest.parts[0]
    path = folder / "refined" / part.part.attributions.name
    metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key != b"ARROW:schema"}
    pq.write_table(change(pq.read_table(path)).replace_schema_metadata(metadata), path)
    summary = dataclasses.replace(part.part, attributions=describe_file(found.uri, part.part.attributions.name))
    parts = (dataclasses.replace(part, part=summary), *found.manifest.parts[1:])
    write_refined(found.uri, dataclasses.replace(found.manifest, parts=parts))


def _with(name: str, change: Callable[[list[object]], list[object]]) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        values = pa.array(change(table.column(name).to_pylist()), field.type)
        return table.set_column(table.schema.get_field_index(name), field, values)

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_with("scale", lambda values: [2 * value for value in values]), "its map sums to"),
        (_with("grid", lambda values: [value[::-1] for value in values]), "its grid is not that of its map"),
        (_with("cells", lambda values: [value[::-1] for value in values]), "its cells are not those of its map"),
        (_with("content", lambda values: values[::-1]), "it is of another picture than the run's"),
        (_with("target", lambda values: [value + 1 for value in values]), "the run has no such row"),
        (_with("score", lambda values: [value + 3 for value in values]), "its score is"),
        (lambda table: table.slice(0, 1), "does not hold all pictures that the manifest lists"),
    ],
)
def test_verify_sees_through_forged_maps(few, change, told, capsys):
    assert refine(few, "--images", "a.tar#0001", "a.tar#0002") == 0
    _forge(few, change)
    capsys.readouterr()
    assert main(["verify", str(few)]) == 1
    assert told in capsys.readouterr().out


def test_verify_finds_files_that_are_changed_missing_or_strange(few, capsys):
    assert refine(few, "--images", "a.tar#0001", "a.tar#0009") == 0
    first, second = sorted((few / "refined" / "attributions").iterdir())
    shutil.copy(first, first.with_name("part-other.parquet"))
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    capsys.readouterr()
    assert main(["verify", str(few)]) == 1
    told = capsys.readouterr().out
    assert "refined/attributions/part-other.parquet: is not in the manifest" in told
    assert f"refined/attributions/{first.name}: was changed" in told
    assert f"refined/attributions/{second.name}: is missing" in told
