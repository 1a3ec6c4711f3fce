"""Counts of labels, image by image and of parts and runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests import stored_run
from tests.stored_run import CHUNKS, PROVENANCE, SHAPE, make_rows
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.record import Explanation, Image, Pixels
from transforms.store import LabelCounts, Run
from transforms.store.manifest import Manifest
from transforms.store.parts import PartSummary, read_footer

USABLE, UNUSABLE = LabelCounts(usable=1), LabelCounts(unusable=1, problem="label 'dgo' is not one of the 5 class names")


@pytest.mark.parametrize(
    ("label", "problem", "counts"),
    [
        (0, "", LabelCounts(usable=1)),
        ((), "", LabelCounts(usable=1)),
        (None, "", LabelCounts(missing=1)),
        (None, "no class", LabelCounts(unusable=1, problem="no class")),
        (None, "x" * 5000, LabelCounts(unusable=1, problem="x" * 200)),
    ],
)
def test_of_one_image(label, problem, counts):
    pixels = Pixels(np.zeros((1, 1, 3), np.float32), 1, 1)
    assert LabelCounts.of(Explanation(Image("a", "s", 0, b""), pixels, label, (), (), problem)) == counts
    assert counts.images == 1


def test_a_part_and_its_footer_have_the_same(tmp_path):
    run = str(tmp_path)
    with store.write_part(run, CHUNKS[0], PROVENANCE, Settings(), SHAPE) as part:
        for position, label in enumerate((USABLE, UNUSABLE, USABLE)):
            part.add(make_rows(CHUNKS[0], position), label)
        part.add(make_rows(CHUNKS[0], 3))
    counts = LabelCounts(2, 1, 1, UNUSABLE.problem)
    assert part.summary.labels == counts
    assert read_footer(f"{run}/{part.summary.attributions.name}").labels == counts
    assert store.finished_part(run, CHUNKS[0], PROVENANCE.config_digest) == part.summary
    assert PartSummary.from_json(dataclasses.asdict(part.summary)) == part.summary


def test_a_run_adds_them_up_unless_it_is_older(tmp_path):
    stored_run.write_run(str(tmp_path))
    manifest = Run.open(str(tmp_path)).manifest
    assert manifest.labels == LabelCounts(missing=manifest.images - manifest.failures)
    older = (dataclasses.replace(manifest.parts[0], labels=None), *manifest.parts[1:])
    assert dataclasses.replace(manifest, parts=older).labels is None
    assert isinstance(manifest, Manifest)


def test_they_are_read_as_a_sentence():
    assert str(LabelCounts(1000, 2)) == "1,000 usable, 2 missing, 0 unusable"
    assert str(UNUSABLE) == "0 usable, 0 missing, 1 unusable (such as: label 'dgo' is not one of the 5 class names)"
