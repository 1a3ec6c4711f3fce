"""Fixed rules: the defining property of each, and its negation.

A rule of degree d integrates every polynomial up to degree d exactly and misses degree d + 1: without
the second half, any fine enough rule would pass. Monomials are centred off 1/2, so that symmetry
cannot cancel an error.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.path.quadrature import error_factor, fixed
from transforms.core.vocabulary import FIXED_RULES

DEGREES = [
    ("left", 5, 0),
    ("right", 5, 0),
    ("midpoint", 5, 1),
    ("trapezoid", 5, 1),
    ("simpson", 3, 3),
    ("simpson", 7, 3),
    ("gauss_legendre", 1, 1),
    ("gauss_legendre", 4, 7),
]


def moment_error(rule: str, steps: int, degree: int) -> float:
    centre = 0.3
    quadrature = fixed(rule, steps)
    integral = ((1 - centre) ** (degree + 1) - (-centre) ** (degree + 1)) / (degree + 1)
    return abs(float(quadrature.weights @ (quadrature.alphas - centre) ** degree) - integral)


@pytest.mark.parametrize(("rule", "steps", "degree"), DEGREES)
def test_exact_up_to_its_degree_and_not_above(rule, steps, degree):
    for d in range(degree + 1):
        assert moment_error(rule, steps, d) < 1e-14  # a few rounding errors of float64
    assert moment_error(rule, steps, degree + 1) > 1e-6


@pytest.mark.parametrize("rule", FIXED_RULES)
@given(steps=st.integers(3, 120))
@settings(deadline=None)
def test_weights_sum_to_one_and_nodes_ascend_within_the_path(rule, steps):
    quadrature = fixed(rule, steps | 1)
    assert len(quadrature.alphas) == len(quadrature.weights) == steps | 1
    assert math.fsum(quadrature.weights) == pytest.approx(1.0, abs=1e-14)
    assert np.all(np.diff(quadrature.alphas) > 0)
    assert quadrature.alphas[0] >= 0
    assert quadrature.alphas[-1] <= 1


def test_trapezoid_known_answer():
    gradients = np.array([0.1, 0.4, 0.6, 0.8, 0.9, 1.0, 0.8])
    assert fixed("trapezoid", 7).weights @ gradients == pytest.approx(0.691667, abs=5e-7)  # digits of the source


@pytest.mark.parametrize(
    ("rule", "steps", "text"),
    [
        ("simpson", 50, "odd number of steps from 3, not 50"),
        ("simpson", 1, "odd number of steps from 3, not 1"),
        ("trapezoid", 1, "at least 2, not 1"),
        ("midpoint", 0, "at least 1, not 0"),
        ("romberg", 8, "midpoint, trapezoid, left, right, simpson, gauss_legendre, not 'romberg'"),
    ],
)
def test_refuses_what_a_rule_does_not_have(rule, steps, text):
    with pytest.raises(ValueError, match=text):
        fixed(rule, steps)


@pytest.mark.parametrize("rule", FIXED_RULES)
def test_error_factor_is_the_ratio_of_root_mean_square_step_responses(rule):
    quadrature = fixed(rule, 9)
    contrast = np.array([1, -1, -1, 1, 0.5, -1, 1, -1, 0.5])
    steps = (np.arange(100_000) + 0.5) / 100_000
    above = quadrature.alphas[:, None] > steps
    error = quadrature.weights @ above - (1 - steps)
    observed = contrast @ above
    expected = np.sqrt((error**2).mean() / (observed**2).mean())
    # A midpoint sum over n positions is off by one of n at each of the nine discontinuities.
    assert error_factor(quadrature.alphas, quadrature.weights, contrast) == pytest.approx(expected, rel=2e-4)
