"""The plan of a sample reads back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest

from transforms.core.errors import UsageError
from transforms.store.sampling import SamplingPlan, read_plan, write_plan

PLAN = SamplingPlan("2h", 0.1, 8000, False, "seconds", 0.9, "by runs/a", 0.05, "by runs/a", ((3, 0.5), (7, 1.0)))


def test_a_plan_reads_back(tmp_path):
    assert read_plan(str(tmp_path)) is None
    write_plan(str(tmp_path), PLAN)
    assert read_plan(str(tmp_path)) == PLAN and PLAN.expected == 800
    assert json.loads((tmp_path / "sampling.json").read_text())["expected"] == 800
    assert PLAN.shaping == {"share": 0.1, "reference_shares": [[3, 0.5], [7, 1.0]]}
    write_plan(str(tmp_path), None)
    assert read_plan(str(tmp_path)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"share": 0},
        {"share": 1.5},
        {"share": None},
        {"share": float("nan")},
        {"reference_shares": [[1]]},
        {"reference_shares": [["a", 0.5]]},
        {"reference_shares": 5},
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, change):
    content = {**json.loads(PLAN.to_bytes()), **change}
    (tmp_path / "sampling.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"sampling\.json: "):
        read_plan(str(tmp_path))


def test_a_plan_lacks_nothing(tmp_path):
    content = json.loads(PLAN.to_bytes())
    for name in ("budget", "share", "images", "reference_shares"):
        (tmp_path / "sampling.json").write_text(json.dumps({key: content[key] for key in content if key != name}))
        with pytest.raises(UsageError, match="not a plan of a sample"):
            read_plan(str(tmp_path))
