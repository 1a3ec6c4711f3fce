"""Labels and names from the shards to the terminal, the rows, the manifest and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_tar

NAMES = ["cat", "dog", "10", "crane", "crane"]
OWN_NAMES = ["dog", "cat", "horse"]
OPTIONS = {"rule": "midpoint", "steps": 4, "faithfulness": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth", size=8)


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("\ufeff" + "\n".join(f"{index}: {name}" for index, name in enumerate(NAMES)), encoding="utf-8")
    return str(path)


def write_parquet(path: Path) -> None:
    """Writes labels that count the data set's own names: 0 is a dog."""
    images = [{"bytes": png(picture), "path": None} for picture in pictures(4, size=12)]
    features = {"img": {"_type": "Image"}, "y": {"_type": "ClassLabel", "names": OWN_NAMES}}
    table = pa.table({"img": images, "y": [0, 1, 2, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)


def test_labels_go_by_name_and_are_counted_everywhere(tmp_path, model, names, capsys):
    write_parquet(tmp_path / "a.parquet")
    assert run(tmp_path / "out", input=tmp_path / "a.parquet", model=model, class_names=names, **OPTIONS) == 0
    printed = capsys.readouterr()
    shown, notes = printed.out.splitlines(), printed.err.splitlines()
    assert (
        "image_column: column 'img', the only Image feature of the Parquet metadata; there is no column 'image'"
    ) in notes
    assert any(note.startswith("labels: class names in the Parquet metadata (dog, cat, horse)") for note in notes)
    counted = "2 usable, 1 missing, 1 unusable (such as: label 2 is 'horse', not one of the 5 class names)"
    assert f"  labels        {counted}" in shown
    rows = rows_of(tmp_path / "out")
    assert [(row["label"], row["label_name"]) for row in rows] == [(1, "dog"), (0, "cat"), (None, "2"), (None, None)]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["facts"]["notes"][0] in notes
    problem = "label 2 is 'horse', not one of the 5 class names"
    assert manifest["labels"] == {"usable": 2, "missing": 1, "unusable": 1, "problem": problem}
    page = (tmp_path / "out/report.html").read_text()
    assert "<dt>usable labels</dt><dd>2 of 4</dd>" in page and "1 labels cannot be used, such as" in page
    assert main(["verify", str(tmp_path / "out")]) == 0
    manifest["parts"][0]["labels"]["usable"] = 3
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "out")]) == 1
    assert "holds 4 attributed images, whose labels are counted, the manifest says 5" in capsys.readouterr().out


def test_a_label_that_names_no_class_costs_the_image_only_if_it_is_the_target(tmp_path, model, names):
    data = [png(picture) for picture in pictures(5, size=12)]
    labels = [b"10", b"crane", b"horse", b"3", b'{"x": 1}']
    members = {}
    for number, (image, label) in enumerate(zip(data, labels, strict=True)):
        members |= {f"{number}.png": image, f"{number}.{'json' if label[:1] == b'{' else 'cls'}": label}
    write_tar(tmp_path / "a.tar", members)
    common = {"input": tmp_path / "a.tar", "model": model, "class_names": names, **OPTIONS}
    assert run(tmp_path / "top", **common) == 0
    found = [(row["label"], row["label_name"]) for row in rows_of(tmp_path / "top")]
    assert found == [(2, "10"), (None, "crane"), (None, "horse"), (3, "crane"), (None, None)]
    assert run(tmp_path / "label", targets="label", **common) == 4
    assert [row["target"] for row in rows_of(tmp_path / "label")] == [2, 3]
    errors = {row["image_id"]: row["message"] for row in rows_of(tmp_path / "label", "errors")}
    assert errors == {
        "a.tar#1": "label 'crane' stands for classes 3 and 4",
        "a.tar#2": "label 'horse' is not one of the 5 class names",
        "a.tar#4": "the image has no label, and targets is 'label'",
    }
    assert run(tmp_path / "offset", label_offset=-1, **common) == 0
    assert [row["label"] for row in rows_of(tmp_path / "offset")] == [2, None, None, 2, None]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "image_member: the sample a has several pictures, png, jpg; name one"),
        (
            {"image_member": "png", "class_names": "few.txt"},
            "class_names: 4 class names for a model with 5 outputs;",
        ),
        ({"image_member": "png", "background": "true"}, "background: 'true' is not for a model without class_names"),
        ({"image_member": "png", "input_format": "parquet"}, "image_member: is for input_format webdataset"),
    ],
)
def test_questions_end_the_command_before_the_work(tmp_path, model, options, why, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.txt").write_text("a\nb\nc\nd\n")
    write_tar(tmp_path / "a.tar", {"a.png": b"i", "a.jpg": b"i"})
    assert run(tmp_path / "out", input=tmp_path / "a.tar", model=model, **OPTIONS, **options) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_background_is_named_by_option(tmp_path, model):
    (tmp_path / "few.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "audit.yaml").write_text("background: true\n")
    write_tar(tmp_path / "a.tar", {"0.png": png(pictures(1, size=12)[0]), "0.cls": b"a"})
    options = {"input": tmp_path / "a.tar", "model": model, "class_names": tmp_path / "few.txt", **OPTIONS}
    assert run(tmp_path / "out", config=tmp_path / "audit.yaml", **options) == 0
    assert [(row["label"], row["label_name"]) for row in rows_of(tmp_path / "out")] == [(1, "a")]
