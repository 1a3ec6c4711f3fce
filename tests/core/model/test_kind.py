"""What outputs are, by rows of numbers alone: the right answer, or a refusal that names the option."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from transforms.core.errors import UsageError
from transforms.core.model.evidence import Evidence, examine
from transforms.core.model.facts import facts_of
from transforms.core.model.kind import check_agrees, kind_of
from transforms.core.model.options import ModelOptions
from transforms.core.model.pictures import FIXED, fixed_pictures

SHAPE = (4, 4, 3)
WEIGHTS = np.random.default_rng(0).normal(0, 0.3, [48, 4])
Function = Callable[[np.ndarray], np.ndarray]


def logits(pictures: np.ndarray, count: int = 4) -> np.ndarray:
    return np.asarray(pictures.reshape(len(pictures), -1) @ WEIGHTS[:, :count])


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def look(function: Function, activation: str = "", **known: float) -> Evidence:
    return examine(function, SHAPE, activation, **known)  # type: ignore[arg-type]


def test_pictures_differ_and_are_the_same_everywhere() -> None:
    pictures = fixed_pictures(SHAPE)
    assert pictures.shape == (FIXED, *SHAPE)
    assert len(np.unique(pictures.reshape(FIXED, -1), axis=0)) == FIXED
    assert (pictures.min(), pictures.max()) == (0, 1)
    np.testing.assert_array_equal(pictures, fixed_pictures(SHAPE))


class TestAuto:
    @pytest.mark.parametrize(
        ("function", "activation", "kind"),
        [
            (lambda x: softmax(logits(x)), "softmax", "softmax"),
            (lambda x: softmax(logits(x)), "", "softmax"),
            (lambda x: (softmax(logits(x)) + softmax(3 * logits(x))) / 2, "", "softmax"),
            (lambda x: sigmoid(logits(x)), "sigmoid", "sigmoid"),
            (lambda x: sigmoid(logits(x, 1)), "sigmoid", "sigmoid"),
            (logits, "", "logits"),
            (lambda x: np.log(softmax(logits(x))), "", "logits"),
            (lambda x: logits(x) * 1e6, "", "logits"),
        ],
    )
    def test_knows_what_is_certain(self, function: Function, activation: str, kind: str) -> None:
        assert kind_of(look(function, activation), "auto")[0] == kind

    @pytest.mark.parametrize(
        ("function", "activation", "message"),
        [
            (
                lambda x: sigmoid(logits(x)),
                "",
                "4 outputs are between .* probabilities, logits or a regression's values",
            ),
            (
                lambda x: (sigmoid(logits(x, 1)) + 0.5) / 2,
                "",
                "single output is between .* --outputs sigmoid, log",
            ),
            (lambda x: np.full([len(x), 4], 0.5), "", "4 outputs are between 0.5 and 0.5"),
            (lambda x: logits(x, 1), "", "a logit or a regression's value.* --outputs logits or --outputs values"),
            (lambda x: 100 * softmax(logits(x)), "", "always sum to 100: .* probabilities of another scale"),
            (lambda x: softmax(logits(x).T).T, "softmax", "with sums of from .* no softmax over classes"),
            (lambda x: np.ones([len(x), 1]), "softmax", "softmax over the model's single output is 1"),
        ],
    )
    def test_asks_what_is_not(self, function: Function, activation: str, message: str) -> None:
        with pytest.raises(UsageError, match=f"outputs: .*{message}"):
            kind_of(look(function, activation), "auto")

    def test_allows_for_the_rounding_of_short_floats(self) -> None:
        def rounded(pictures: np.ndarray) -> np.ndarray:
            return softmax(logits(pictures)) * 1.005

        with pytest.raises(UsageError, match="outputs: "):
            kind_of(look(rounded), "auto")
        assert kind_of(look(rounded, tolerance=2e-2), "auto")[0] == "softmax"

    def test_decides_by_the_pictures_that_have_finite_outputs(self) -> None:
        def outputs(pictures: np.ndarray) -> np.ndarray:
            return softmax(np.where(pictures.max((1, 2, 3), keepdims=True)[..., 0, 0] > 0, logits(pictures), np.nan))

        evidence = look(outputs)
        assert evidence.finite == FIXED - 1
        facts = facts_of(evidence, ModelOptions())
        assert facts.outputs == "softmax"
        assert facts.assumptions == ("its outputs are not finite for 1 of 32 fixed pictures",)


class TestOption:
    @pytest.mark.parametrize(
        ("function", "activation", "option"),
        [
            (lambda x: sigmoid(logits(x)), "", "sigmoid"),
            (lambda x: sigmoid(logits(x)), "", "logits"),
            (lambda x: sigmoid(logits(x)), "sigmoid", "values"),
            (lambda x: logits(x, 1), "", "logits"),
            (lambda x: logits(x, 1), "", "values"),
            (lambda x: softmax(logits(x)), "", "softmax"),
            (lambda x: softmax(logits(x)), "softmax", "values"),
        ],
    )
    def test_decides_where_numbers_allow_it(self, function: Function, activation: str, option: str) -> None:
        assert kind_of(look(function, activation), option) == (option, "as given")

    @pytest.mark.parametrize(
        ("function", "activation", "option", "message"),
        [
            (lambda x: sigmoid(logits(x)), "", "softmax", "with sums of"),
            (logits, "", "softmax", "with sums of"),
            (logits, "", "sigmoid", "are they logits"),
            (lambda x: softmax(logits(x)), "", "sigmoid", "give --outputs softmax"),
            (lambda x: softmax(logits(x)), "softmax", "logits", "give --outputs softmax"),
            (lambda x: softmax(logits(x)), "", "logits", "they sum to 1 for every picture; give --outputs softmax"),
            (lambda x: sigmoid(logits(x)), "sigmoid", "logits", "ends in a sigmoid; give --outputs sigmoid"),
            (lambda x: sigmoid(logits(x, 1)), "sigmoid", "logits", "ends in a sigmoid"),
            (lambda x: sigmoid(logits(x, 1)), "sigmoid", "softmax", "softmax over the model's single output"),
        ],
    )
    def test_that_numbers_contradict_is_refused(
        self, function: Function, activation: str, option: str, message: str
    ) -> None:
        with pytest.raises(UsageError, match=f"outputs.*{message}"):
            kind_of(look(function, activation), option)


class TestUsable:
    def test_a_random_model_is_not(self) -> None:
        generator = np.random.default_rng(0)

        def dropped(pictures: np.ndarray) -> np.ndarray:
            return logits(pictures * (generator.random(pictures.shape) > 0.1))

        with pytest.raises(UsageError, match=r"model: it is random: .*dropout layer is active: .* training=False"):
            facts_of(look(dropped), ModelOptions())

    @pytest.mark.parametrize("noise", [1e-6, 1e-3])
    def test_rounding_is_not_randomness(self, noise: float) -> None:
        generator = np.random.default_rng(0)

        def rounded(pictures: np.ndarray) -> np.ndarray:
            return logits(pictures) * generator.uniform(1 - noise, 1 + noise)

        if noise > 1e-4:
            with pytest.raises(UsageError, match="model: it is random"):
                facts_of(look(rounded), ModelOptions())
        else:
            assert facts_of(look(rounded), ModelOptions()).difference < 1e-5

    def test_one_that_looks_at_the_rest_of_a_batch_is_not(self) -> None:
        with pytest.raises(UsageError, match="model: its outputs for a picture depend on the others of the batch"):
            facts_of(look(lambda x: logits(x - x.mean(0))), ModelOptions())

    def test_one_without_finite_outputs_is_not(self) -> None:
        with pytest.raises(UsageError, match="pixels='byte': the model's outputs are not finite for 32 of 32 pictures"):
            facts_of(look(lambda x: logits(x) * np.nan), ModelOptions(pixels="byte"))


class TestSuspicions:
    @pytest.mark.parametrize(
        ("pixels", "scale", "named"),
        [
            ("unit", 1 / 255, "--pixels byte"),
            ("unit", 1 / 127.5, "--pixels byte"),
            ("signed", 2 / 127.5, "--pixels byte"),
            ("imagenet", 1 / 0.225 / 255, "--pixels byte"),
            ("unit", 1 / 58, "--pixels byte"),
            ("byte", 255 * 255.0, "--pixels unit"),
            ("byte", 255 / 0.224, "--pixels unit"),
            ("byte", 1.0, ""),
            ("byte", 2.0, ""),
            ("byte", 255.0, ""),
            ("unit", 1.0, ""),
            ("unit", 4.4, ""),
            ("unit", 255.0, ""),
            ("signed", 2.0, ""),
            ("caffe", 255.0, ""),
            ("unit", 0.0, ""),
        ],
    )
    def test_a_first_layer_for_another_range_is_one(self, pixels: str, scale: float, named: str) -> None:
        facts = facts_of(look(logits, scale=scale), ModelOptions(pixels=pixels))
        assert [named in sentence for sentence in facts.suspicions] == ([True] if named else [])

    @pytest.mark.parametrize(("share", "suspicious"), [(1e-3, True), (0.5, False)])
    def test_outputs_that_hardly_depend_on_the_picture_are_one(self, share: float, suspicious: bool) -> None:
        facts = facts_of(look(lambda x: np.arange(1.0, 5.0) * 2 + share * logits(x)), ModelOptions())
        assert [line for line in facts.lines() if "SUSPICIOUS" in line and "hardly depend" in line] == (
            [facts.lines()[-1]] if suspicious else []
        )


def test_facts_are_said_in_one_line() -> None:
    facts = facts_of(look(lambda x: softmax(logits(x)), "softmax"), ModelOptions(pixels="signed"))
    assert facts.lines() == ["model: 4 classes, softmax (its last operation), input 4x4x3 in [-1, 1]"]
    assert facts.to_json()["lines"] == facts.lines()
    assert facts_of(look(logits), ModelOptions()).lines()[1:] == [
        "model: its outputs are taken for logits; if they are something else, set --outputs"
    ]


def test_evidence_is_kept_as_json() -> None:
    evidence = look(logits, "softmax", scale=0.5)
    assert Evidence.from_json(evidence.to_json()) == evidence
    with pytest.raises(TypeError):
        Evidence.from_json({**evidence.to_json(), "low": "0"})
    with pytest.raises(KeyError):
        Evidence.from_json({})


class TestRealImages:
    @pytest.mark.parametrize(
        ("kind", "rows", "message"),
        [
            ("softmax", [[0.5, 0.5], [0.5, 0.6]], "outputs='softmax': .* sum to 1.1"),
            ("softmax", [[1.5, -0.5]], "outputs='softmax': .* from -0.5 to 1.5"),
            ("sigmoid", [[0.5, 1.2]], "outputs='sigmoid': .* from 0.5 to 1.2"),
        ],
    )
    def test_may_contradict_what_was_found(self, kind: str, rows: list[list[float]], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            check_agrees(np.array(rows, np.float32), kind)

    @pytest.mark.parametrize(
        ("kind", "rows"),
        [
            ("softmax", [[0.5, 0.5], [0.25, 0.75]]),
            ("softmax", [[np.nan, 0.5]]),
            ("sigmoid", [[0.5, 0.9]]),
            ("logits", [[5.0, 0.9]]),
            ("values", [[-5.0]]),
        ],
    )
    def test_may_agree(self, kind: str, rows: list[list[float]]) -> None:
        check_agrees(np.array(rows, np.float32), kind)
