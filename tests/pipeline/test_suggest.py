"""A suggestion is the closest name, and never one that means the contrary."""

from __future__ import annotations

import pytest

from pipeline.suggest import suggestion

KNOWN = ["--tolerance", "--max_steps", "--max_slices", "--no_wait", "--streaming"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("--tolerence", "--tolerance"),
        ("-tolerance", "--tolerance"),
        ("Tolerance", "--tolerance"),
        ("--max-steps", "--max_steps"),
        ("--tol", "--tolerance"),
        ("--no_wai", "--no_wait"),
    ],
)
def test_the_closest_name_is_suggested(name, meant):
    assert suggestion(name, KNOWN) == f"; did you mean {meant}?"


@pytest.mark.parametrize("name", ["--max", "--to", "--no_streaming", "--wait", "--zebra", "-", ""])
def test_nothing_is_suggested_that_is_doubtful(name):
    assert suggestion(name, KNOWN) == ""
