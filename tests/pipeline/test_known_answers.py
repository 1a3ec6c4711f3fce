"""Attributions with known answers, through the command line and the stored Parquet.

Each function of (x1, x2, x3) is a SavedModel over an image of one pixel whose channels they are; the
model scales them by 0.1 a grey level, so that 30 in a PNG is 3. Pixels and baselines are whole grey
levels: what remains is float32 rounding of values up to 54, below 1e-4 here. Two answers of the
peers' tests need no model: trapezoid weights alone (tests/core/path/test_quadrature.py) and the variance
of a summary (tests/core/statistics/test_importance.py).
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipeline.job import png, rows_of, run
from tests.saved_models import save

LEVELS_A_UNIT = 10


def kinked(x1, x2, _):
    import tensorflow as tf

    return tf.nn.relu(tf.nn.relu(x1) - 1.0 - tf.nn.relu(x2))


def kinked_inside(x1, x2, _):
    import tensorflow as tf

    return tf.nn.relu(tf.nn.relu(x1 - 1.0) - tf.nn.relu(x2))


def linear(x1, x2, _):
    return 2.0 * x1 + x2


def quadratic(x1, x2, _):
    return 2.0 * x1**2 + x2**2


def coupled(x1, x2, _):
    return (2.0 * x1 + x2) ** 2


CASES = [
    # function, rule, steps, baseline, input, offset, integrated gradients
    (kinked, "midpoint", 50, (0, 0), (3, 1), 0, (1.5, -0.5)),
    (kinked, "gauss_legendre", 50, (0, 0), (3, 1), 0, (1.5, -0.5)),
    (kinked, "midpoint", 51, (0, 0), (3, 1), 0, (1.4706, -0.4902)),
    (kinked, "gauss_legendre", 51, (0, 0), (3, 1), 0, (1.4543, -0.4848)),
    (kinked_inside, "midpoint", 50, (0, 0), (3, 1), 0, (1.5, -0.5)),
    *[
        (linear, rule, steps, (-1, -3), (10, 5), 5, (22, 8))
        for rule, steps in [("left", 3), ("right", 3), ("midpoint", 2), ("trapezoid", 4), ("simpson", 3)]
    ],
    (linear, "gauss_legendre", 2, (-1, -3), (10, 5), 5, (22, 8)),
    (linear, "adaptive", None, (-1, -3), (10, 5), 5, (22, 8)),
    (quadratic, "trapezoid", 20, (0, 0), (3, 3), 0, (18, 9)),
    (quadratic, "adaptive", None, (0, 0), (3, 3), 0, (18, 9)),
    (coupled, "midpoint", 20, (0, 0), (3, 3), 0, (54, 27)),
    (quadratic, "midpoint", 20, (3, 3), (0, 0), 0, (-18, -9)),
]


def level(value: float, offset: float) -> int:
    return int((value + offset) * LEVELS_A_UNIT)


@pytest.mark.parametrize(
    ("function", "rule", "steps", "baseline", "image", "offset", "answer"),
    CASES,
    ids=[f"{case[0].__name__}-{case[1]}-{case[2]}" for case in CASES],
)
def test_integrated_gradients(tmp_path, function, rule, steps, baseline, image, offset, answer):
    import tensorflow as tf

    def outputs(images):
        x = images[:, 0, 0, :] * (255.0 / LEVELS_A_UNIT) - offset
        value = function(x[:, 0], x[:, 1], x[:, 2])
        return tf.stack([value, -value], axis=1)

    color = ",".join(str(level(value, offset)) for value in (*baseline, -offset))
    pixel = np.array([[[level(value, offset) for value in (*image, -offset)]]], np.uint8)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.png").write_bytes(png(pixel))
    options = {"steps": steps} if steps else {"max_steps": 2048, "tolerance": 1e-5}
    code = run(
        tmp_path / "run",
        input=tmp_path / "images",
        model=save(tmp_path / "model", outputs, 1, 1),
        targets="class:0",
        score="logit",
        baseline=f"color:{color}",
        rule=rule,
        dtype="float32",
        **options,
    )
    assert code == 0
    (row,) = rows_of(tmp_path / "run")
    np.testing.assert_allclose(row["attribution"][0, 0], [*answer, 0], atol=1e-4)
    assert row["attribution"].sum() - (row["score"] - row["baseline_score"]) == pytest.approx(
        row["convergence_delta"], abs=1e-4
    )


def test_the_other_class_has_the_opposite_sign(tmp_path):
    import tensorflow as tf

    def outputs(images):
        value = linear(images[:, 0, 0, 0], images[:, 0, 0, 1], 0)
        return tf.stack([value, -value], axis=1)

    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.png").write_bytes(png(np.full([1, 1, 3], 255, np.uint8)))
    model = save(tmp_path / "model", outputs, 1, 1)
    run(tmp_path / "run", input=tmp_path / "images", model=model, targets="top2", score="logit", dtype="float32")
    first, second = rows_of(tmp_path / "run")
    assert (first["target"], first["target_rank"]) == (0, 0)
    assert (second["target"], second["target_rank"]) == (1, 1)
    np.testing.assert_allclose(first["attribution"][0, 0], [2, 1, 0], atol=1e-6)
    np.testing.assert_allclose(second["attribution"][0, 0], [-2, -1, 0], atol=1e-6)
