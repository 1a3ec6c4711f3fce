"""A night in memory counts what the audit.json of the same rows says."""

from __future__ import annotations

import json

import numpy as np

from pipeline.audit.compare import compare
from pipeline.audit.evidence import read_evidence
from pipeline.audit.thresholds import load_thresholds
from support.tail_flags import flags, stack, watched
from tests.night_rows import SIDE, Rows, draw, make_pool, speak_up
from tests.stored_nights import write_rows
from transforms.core.drift.places import COLUMNS, Places
from transforms.core.drift.tails import Units
from transforms.core.statistics.slices import Slice

CLASSES = 3
PLACES = Places(SIDE)


def values(rows: Rows) -> np.ndarray:
    return PLACES.values({name: rows.vectors.get(name, rows.scalars.get(name)) for name in COLUMNS})


def test_a_night_in_memory_counts_as_compare_does(tmp_path):
    pool = make_pool(600, CLASSES)
    night = draw(pool, 240, 1)
    night = speak_up(night, np.flatnonzero(night.classes == 1)[:9], by=0.02)
    before = [draw(pool, 240, 2 + number, number) for number in range(2)]
    runs = [write_rows(tmp_path / str(number), rows, number + 1) for number, rows in enumerate((*before, night))]
    audit = compare(runs[-1], runs[:-1], load_thresholds())
    evidence = read_evidence(json.loads(json.dumps(audit.to_json())))
    labels = [Slice("label", str(number), f"class {number}") for number in range(CLASSES)]

    known = before[0].join(*before[1:])
    usual = [Units.of(values(known.take(known.classes == kind)), PLACES) for kind in range(CLASSES)]
    sizes = {one["value"]: one for one in audit.to_json()["tails"]["slices"] if one["kind"] == "label"}
    listed = [sizes[str(kind)] for kind in range(CLASSES)]
    once = np.array([one["reference_pictures"] / one["reference_rows"] for one in listed])
    assert (once < 1).all()  # some pictures are in both nights, and count once
    for rows, counted, share in (
        (night, evidence.of(labels).night, np.ones(CLASSES)),
        (known, evidence.of(labels).references, once),
    ):
        of_class = [values(rows.take(rows.classes == kind)) for kind in range(CLASSES)]
        flagged = stack([flags(each, units, PLACES) for each, units in zip(of_class, usual, strict=True)])
        here = flagged.count(np.arange(len(rows))[None], flagged.sizes)
        order = [watched(PLACES)[1].index(statistic) for statistic in evidence.statistics]
        np.testing.assert_allclose(here.counts[0][:, order] * share[:, None, None], counted.counts, atol=1e-9)
        np.testing.assert_allclose(here.rows[0] * share, counted.rows, atol=1e-9)
    corner = evidence.of(labels).night.counts[1].max(axis=(0, 1))
    assert corner >= 9  # the planted pictures are among what is compared
