"""What `--budget` takes."""

from __future__ import annotations

import pytest

from pipeline.budget import Budget


@pytest.mark.parametrize(
    ("text", "amount", "unit", "told"),
    [
        ("100000", 100_000, "gradients", "100,000 gradients"),
        ("2h", 7200, "seconds", "2 hours"),
        ("1.5h", 5400, "seconds", "1.5 hours"),
        ("90m", 5400, "seconds", "1.5 hours"),
        ("3600s", 3600, "seconds", "1 hours"),
        ("0.5s", 0.5, "seconds", "0.5 seconds"),
    ],
)
def test_a_budget_is_gradients_or_time(text, amount, unit, told):
    budget = Budget.parse(text)
    assert (budget.amount, budget.unit, str(budget)) == (amount, unit, told)


@pytest.mark.parametrize("text", ["", "h", "2 h", "2d", "1e5", "1.5", "0", "0h", "-1h", "1h30m", "٣h", "9" * 16, "inf"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError, match="is not a number of gradient evaluations"):
        Budget.parse(text)
