"""A run that takes parts of an earlier one: only what is new is computed, and nothing shows the difference."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, run
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms.attribute import _Attributing

STEPS = 6
IMAGES = 5
OPTIONS = {"rule": "midpoint", "steps": STEPS, "chunk_images": 3, "batch_size": 4}
OPTIONS |= {"baseline": "black uniform:1", "faithfulness": 0.5}  # what depends on the names of images
CHUNKS = 2
"""Of a shard."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture
def gradients(monkeypatch) -> list[int]:
    """Collects the gradient evaluations of each batch."""
    found: list[int] = []
    count = _Attributing._count_batch

    def note(self, steps, seconds):
        found.append(steps)
        count(self, steps, seconds)

    monkeypatch.setattr(_Attributing, "_count_batch", note)
    return found


@pytest.fixture
def days(tmp_path) -> list[str]:
    """Five shards of a folder, each of other pictures, the fourth with one that cannot be decoded."""
    shards = []
    for day in range(5):
        (tmp_path / "written").mkdir()
        images = [png(image) for image in pictures(IMAGES, seed=day)]
        images[2:3] = [b"no picture"] if day == 3 else images[2:3]
        write_shard(tmp_path / "written", "webdataset", images, [number % 5 for number in range(IMAGES)])
        (tmp_path / "data").mkdir(exist_ok=True)
        shards.append(shutil.move(tmp_path / "written" / "a.tar", tmp_path / "data" / f"day-{day}.tar"))
        (tmp_path / "written").rmdir()
    return [str(shard) for shard in shards]


def files_of(folder: Path) -> dict[str, bytes]:
    """Returns the content of all parts, errors and statistics of a run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for table in ("attributions", "errors", "statistics")
        for path in sorted((folder / table).glob("*"))
    }


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def reused(folder: Path) -> dict:
    return manifest_of(folder)["facts"]["reuse"]


def test_a_window_moved_by_one_costs_one_shard_and_is_the_same_to_the_byte(tmp_path, model, days, gradients, capsys):
    first, second, scratch = (tmp_path / name for name in ("first", "second", "scratch"))
    assert run(first, input=days[:4], model=model, **OPTIONS) == 4  # one picture in 20 cannot be decoded
    gradients.clear()
    assert run(second, input=days[1:], model=model, reuse=first, **OPTIONS) == 4
    # two paths of as many steps for each picture of the new shard
    assert sum(gradients) == IMAGES * 2 * STEPS
    out = capsys.readouterr()
    assert f"reused        6 of 8 chunks (15 images): 6 of {first}; computed: 2 new" in out.out
    assert "images (15 reused)" in out.err
    assert run(scratch, input=days[1:], model=model, **OPTIONS) == 4
    assert files_of(second) == files_of(scratch)
    assert any(name.startswith("errors/") for name in files_of(second))
    one, other = manifest_of(second), manifest_of(scratch)
    for name in ("parts", "statistics", "images", "rows", "failures", "labels", "config_digest"):
        assert one[name] == other[name]
    assert one["facts"]["worker_images"] == IMAGES and other["facts"]["worker_images"] == 4 * IMAGES
    assert "reuse" not in other["facts"]
    assert main(["verify", str(second)]) == 0


def test_changed_bytes_under_the_same_name_and_size_are_computed(tmp_path, model, days, gradients):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(first, input=days[:2], model=model, **OPTIONS) == 0
    shard = Path(days[0])
    content, status = shard.read_bytes(), shard.stat()
    place = content.rindex(b"IDAT") + 20  # within the last picture, of the second chunk
    shard.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    gradients.clear()
    run(second, input=days[:2], model=model, reuse=first, **OPTIONS)
    assert reused(second)["computed"] == {"of other bytes": 1}
    assert reused(second)["chunks"] == 2 * CHUNKS - 1
    assert sum(gradients) in (2 * STEPS, 4 * STEPS)  # the last chunk has two pictures, one perhaps damaged
    scratch = tmp_path / "scratch"
    run(scratch, input=days[:2], model=model, **OPTIONS)
    assert files_of(second) == files_of(scratch)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"steps": 8}, "steps"), ({"max_slices": 3}, "max_slices"), ({"model": None}, "the model's files")],
)
def test_other_options_or_another_model_reuse_nothing_and_say_so(
    tmp_path, model, days, gradients, capsys, change, told
):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(first, input=days[:1], model=model, **OPTIONS) == 0
    if "model" in change:
        change = {"model": smooth(tmp_path / "other", size=28)}
    gradients.clear()
    assert run(second, input=days[:1], reuse=first, **{"model": model, **OPTIONS, **change}) == 0
    assert sum(gradients) == IMAGES * 2 * change.get("steps", STEPS)
    assert f"reuse: left out: {first} was made with other options ({told})" in capsys.readouterr().err
    assert reused(second)["chunks"] == 0
    assert told in reused(second)["left_out"][0]


def test_a_data_set_that_has_moved_is_written_with_its_new_place(tmp_path, model, days, gradients):
    first, second, scratch = (tmp_path / name for name in ("first", "second", "scratch"))
    assert run(first, input=days[2:4], model=model, **OPTIONS) == 4
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    moved = [day.replace("/data/", "/elsewhere/") for day in days]
    gradients.clear()
    assert run(second, input=moved[2:4], model=model, reuse=first, **OPTIONS) == 4
    assert not gradients
    assert run(scratch, input=moved[2:4], model=model, **OPTIONS) == 4
    assert files_of(second) == files_of(scratch)
    assert main(["verify", str(second)]) == 0


def test_the_parts_of_an_interrupted_run_are_taken_and_so_are_those_of_a_folder_of_runs(
    tmp_path, model, days, gradients, capsys
):
    nights = tmp_path / "nights"
    assert run(nights / "1", input=days[:2], model=model, **OPTIONS) == 0
    (nights / "1" / "manifest.json").unlink()
    lost = min((nights / "1" / "attributions").iterdir())
    lost.unlink()
    (nights / "empty").mkdir()
    assert run(nights / "2", input=days[1:3], model=model, reuse=nights, **OPTIONS) == 0
    gradients.clear()
    assert run(nights / "3", input=days[:3], model=model, reuse=nights, **OPTIONS) == 0
    facts = reused(nights / "3")
    assert sum(facts["runs"].values()) == facts["chunks"] >= 3 * CHUNKS - 1
    assert facts["runs"][str(nights / "2")] == 2 * CHUNKS  # the latest comes first
    assert sum(gradients) <= 3 * 2 * STEPS


def test_a_damaged_part_is_computed_anew(tmp_path, model, days):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(first, input=days[:2], model=model, **OPTIONS) == 0
    wanted = files_of(first)
    one, other, *_ = sorted((first / "attributions").iterdir())
    one.write_bytes(one.read_bytes()[:-100])
    content = bytearray(other.read_bytes())
    content[len(content) // 3] ^= 1
    other.write_bytes(content)
    assert run(second, input=days[:2], model=model, reuse=first, **OPTIONS) == 0
    assert reused(second)["computed"] == {"damaged there, or of a shard that was refused": 2}
    assert files_of(second) == wanted


def test_a_resumed_run_takes_what_is_left(tmp_path, model, days, gradients):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(first, input=days[:3], model=model, **OPTIONS) == 0
    assert run(second, input=days[:3], model=model, reuse=first, **OPTIONS) == 0
    wanted = files_of(second)
    (second / "manifest.json").unlink()
    for part in sorted((second / "attributions").iterdir())[:4]:
        part.unlink()
    gradients.clear()
    assert run(second, "--resume", input=days[:3], model=model, reuse=first, **OPTIONS) == 0
    assert files_of(second) == wanted and not gradients
    assert (reused(second)["chunks"], reused(second)["resumed"]) == (4, 2)


def test_a_run_to_reuse_that_does_not_exist_is_refused_before_any_work(tmp_path, model, days, capsys):
    assert run(tmp_path / "run", input=days[:1], model=model, reuse=tmp_path / "none", **OPTIONS) == 2
    assert f"reuse: {tmp_path / 'none'}: does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_first_of_many_nights_has_nothing_to_reuse(tmp_path, model, days):
    nights = tmp_path / "nights"
    assert run(nights / "1", input=days[:1], model=model, reuse=nights, **OPTIONS) == 0
    assert reused(nights / "1") == {
        "left_out": [],
        "chunks": 0,
        "images": 0,
        "runs": {},
        "computed": {},
        "resumed": 0,
    }
