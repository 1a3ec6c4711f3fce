"""The compiled step against the gradient that TensorFlow's tape takes of the model as it was loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context

from tests.networks import BUILDERS, CLASSES, SIZE, fused_module, keras3_file
from tests.saved_models import save
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.model.step import ALL, CompiledStep, compile_step
from transforms.core.model.step_batch import StepBatch

BATCH = 6
STEPS = {
    "slots": np.array([0, 0, 1, 1, 2, 0], np.int32),
    "alphas": np.array([0.1, 0.9, 0.25, 1.0, 0.0, 0.5], np.float32),
    "weights": np.array([0.5, 0.5, 1.0, 0.25, 2.0, 0.0], np.float32),
    "targets": np.array([0, 0, 3, 3, 1, 2], np.int32),
    "segments": np.array([0, 1, 2, 2, 0, 0], np.int32),
}
"""A batch whose paths, sums and classes differ from each other; the last step is padding."""


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, SIZE, SIZE, 3), np.float32)


def taped(
    model: classifier.Classifier, starts: np.ndarray, ends: np.ndarray, targets: np.ndarray = STEPS["targets"]
) -> tuple[np.ndarray, ...]:
    """Returns sums, scores and slopes of `STEPS` by the tape, summed in numpy."""
    start, end = starts[STEPS["slots"]], ends[STEPS["slots"]]
    points = tf.constant(start + STEPS["alphas"][:, None, None, None] * (end - start))
    with tf.GradientTape() as tape:
        tape.watch(points)
        scores = model.score(model.outputs(points), tf.constant(targets))
    gradients = tape.gradient(scores, points).numpy()
    sums = np.zeros((3, *model.input_shape), np.float32)
    np.add.at(sums, STEPS["segments"], gradients * STEPS["weights"][:, None, None, None])
    return sums, scores.numpy(), (gradients * (end - start)).sum((1, 2, 3))


def stepped(step: CompiledStep, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, ...]:
    result = step.run(StepBatch(step.enter(starts), step.enter(ends), **STEPS))
    return step.leave(result.sums), result.scores, result.slopes


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the L1 distance over the L1 norm."""
    return float(np.abs(found - wanted).sum() / np.abs(wanted).sum())


@pytest.fixture(scope="module")
def smooth_model(tmp_path_factory: pytest.TempPathFactory) -> classifier.Classifier:
    return classifier.load(
        fused_module(tmp_path_factory.mktemp("model") / "net", "softplus"), ModelOptions(pixels="imagenet")
    )


@pytest.fixture(scope="module")
def step(smooth_model: classifier.Classifier) -> CompiledStep:
    return compile_step(smooth_model, BATCH)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("score", "pixels"), [("probability", "signed"), ("log_odds", "caffe")])
def test_a_smooth_model_agrees_to_rounding(builder: str, score: str, pixels: str, tmp_path: Path) -> None:
    model = classifier.load(BUILDERS[builder](tmp_path / "net", "softplus"), ModelOptions(pixels=pixels, score=score))
    step = compile_step(model, BATCH)
    assert [entry.name for entry in step.report if entry.applied] == list(ALL)
    starts, ends = pictures(3, 1), pictures(3, 2)
    for found, wanted in zip(stepped(step, starts, ends), taped(model, starts, ends), strict=True):
        assert difference(found, wanted) < 1e-5  # float32 rounding, over some ten layers


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_relu_model_agrees_but_for_flipped_masks(builder: str, tmp_path: Path) -> None:
    model = classifier.load(BUILDERS[builder](tmp_path / "net", "relu"))
    starts, ends = pictures(3, 1), pictures(3, 2)
    for found, wanted in zip(
        stepped(compile_step(model, BATCH), starts, ends), taped(model, starts, ends), strict=True
    ):
        assert difference(found, wanted) < 2e-3  # rounding flips masks: 0.2 to 0.9e-3 measured on EfficientNet-Lite0


@pytest.mark.parametrize("missing", ["", *ALL])
def test_each_pass_may_be_left_out_alone(missing: str, smooth_model: classifier.Classifier) -> None:
    chosen = tuple(name for name in ALL if name != missing)
    step = compile_step(smooth_model, BATCH, chosen)
    reasons = {entry.name: entry.reason for entry in step.report if not entry.applied}
    assert set(reasons) == ({missing} - {""} if missing != "freeze" else set(ALL))
    assert set(reasons.values()) <= {"not asked for"}
    starts, ends = pictures(3, 1), pictures(3, 2)
    for found, wanted in zip(stepped(step, starts, ends), taped(smooth_model, starts, ends), strict=True):
        assert difference(found, wanted) < 1e-5  # float32 rounding


def test_an_unknown_pass_is_refused(smooth_model: classifier.Classifier) -> None:
    with pytest.raises(ValueError, match=r"passes=fuse: allowed are freeze, simplify"):
        compile_step(smooth_model, BATCH, ("freeze", "fuse"))


def test_enter_is_affine_and_leave_the_transpose_of_its_linear_part(step: CompiledStep) -> None:
    first, second = pictures(2, 3), pictures(2, 4)
    assert step.path_shape == (12, 12, 8)
    middle = step.enter(0.5 * first + 0.5 * second)
    assert middle == pytest.approx(0.5 * step.enter(first) + 0.5 * step.enter(second), abs=1e-5)  # rounding
    assert np.abs(step.enter(np.zeros_like(first))).max() > 0.1  # affine, not linear
    gradients = np.random.default_rng(5).normal(size=(2, *step.path_shape)).astype(np.float32)
    there = np.sum(gradients * (step.enter(first) - step.enter(second)), axis=(1, 2, 3))
    back = np.sum(step.leave(gradients) * (first - second), axis=(1, 2, 3))
    assert back == pytest.approx(there, rel=1e-4)  # sums of 1,728 products in float32


def test_outputs_do_not_depend_on_the_padding(step: CompiledStep, smooth_model: classifier.Classifier) -> None:
    images = pictures(BATCH)
    outputs = step.outputs(images)
    assert outputs == pytest.approx(smooth_model.outputs(tf.constant(images)).numpy(), abs=1e-6)  # rounding
    for count in range(1, BATCH):
        assert (step.outputs(images[:count]) == outputs[:count]).all()


def test_predictions_are_probabilities_of_logits(tmp_path: Path) -> None:
    model = classifier.load(keras3_file(tmp_path / "net", "relu"))
    step = compile_step(model, BATCH)
    outputs, predictions = step.outputs(pictures(2)), step.predict(pictures(2))
    assert predictions.sum(axis=1) == pytest.approx(1.0, abs=1e-6)  # rounding
    assert predictions == pytest.approx(tf.nn.softmax(outputs).numpy(), abs=1e-6)  # rounding
    assert outputs.shape == (2, CLASSES)


def test_another_batch_size_gives_the_same_steps(step: CompiledStep) -> None:
    wider = step.with_batch(BATCH + 2)
    assert (wider.batch, wider.report) == (BATCH + 2, step.report)
    starts, ends = step.enter(pictures(3, 1)), step.enter(pictures(3, 2))
    padded = {name: np.concatenate([values, np.zeros(2, values.dtype)]) for name, values in STEPS.items()}
    found, wanted = wider.run(StepBatch(starts, ends, **padded)), step.run(StepBatch(starts, ends, **STEPS))
    assert difference(found.sums, wanted.sums) < 1e-5  # rounding: kernels split work by the batch
    assert found.scores[:BATCH] == pytest.approx(wanted.scores, abs=1e-6)


def test_threads_share_a_step_and_get_the_same_bits(step: CompiledStep) -> None:
    starts, ends = step.enter(pictures(3, 1)), step.enter(pictures(3, 2))

    def run(_: int) -> Any:
        return step.run(StepBatch(starts, ends, **STEPS))

    alone = run(0)
    with ThreadPoolExecutor(4) as threads:
        for together in threads.map(run, range(16)):
            assert (together.sums == alone.sums).all()
            assert (together.scores == alone.scores).all()
            assert (together.slopes == alone.slopes).all()


def test_calls_leave_the_memory_optimizer_out_and_the_thread_as_it_was(
    monkeypatch: pytest.MonkeyPatch, step: Any
) -> None:
    def optimizer() -> int:
        config = ConfigProto.FromString(context.context().function_call_options.config_proto_serialized)
        return config.graph_options.rewrite_options.memory_optimization

    seen = []
    monkeypatch.setattr(step, "_step", lambda *_: seen.append(optimizer()) or 3 * (tf.zeros([3]),))
    before = optimizer()
    step.run(StepBatch(step.enter(pictures(3, 1)), step.enter(pictures(3, 2)), **STEPS))
    assert seen == [RewriterConfig.NO_MEM_OPT]
    assert optimizer() == before != RewriterConfig.NO_MEM_OPT


def test_a_path_that_is_not_finite_spoils_no_other_sum(step: CompiledStep) -> None:
    starts, ends = step.enter(pictures(3, 1)), step.enter(pictures(3, 2))
    clean = step.run(StepBatch(starts, ends, **STEPS)).sums
    ends[1] = np.nan
    spoilt = step.run(StepBatch(starts, ends, **STEPS)).sums
    assert np.isnan(spoilt[2]).all()
    assert (spoilt[:2] == clean[:2]).all()


def test_a_model_that_cant_be_frozen_is_stepped_as_it_is(tmp_path: Path) -> None:
    keys = tf.range(CLASSES, dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, keys[::-1]), -1)
    weights = tf.constant(np.random.default_rng(0).normal(size=(3, CLASSES)), tf.float32)

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = table

        @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            return tf.gather(tf.reduce_mean(images**2, [1, 2]) @ weights, self.table.lookup(keys), axis=1)

    tf.saved_model.save(Net(), str(tmp_path / "net"))
    model = classifier.load(str(tmp_path / "net"))
    step = compile_step(model, BATCH)
    assert not any(entry.applied for entry in step.report)
    assert all("other than its input and variables" in entry.reason for entry in step.report)
    starts, ends = pictures(3, 1), pictures(3, 2)
    for found, wanted in zip(stepped(step, starts, ends), taped(model, starts, ends), strict=True):
        assert difference(found, wanted) < 1e-5  # rounding


def test_a_model_with_a_loop_is_stepped_as_it_is(tmp_path: Path) -> None:
    def outputs(images: Any) -> Any:
        start = tf.reduce_mean(images, [1, 2])
        return tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, tf.tanh(2.0 * x + start)), (0, start))[1]

    model = classifier.load(save(tmp_path / "net", outputs, SIZE, SIZE), ModelOptions(score="logit", outputs="logits"))
    step = compile_step(model, BATCH)
    assert {entry.reason for entry in step.report} == {"the model has control flow: StatelessWhile"}
    starts, ends = pictures(3, 1), pictures(3, 2)
    targets = STEPS["targets"] % 3
    result = step.run(StepBatch(starts, ends, **{**STEPS, "targets": targets}))
    assert difference(result.sums, taped(model, starts, ends, targets)[0]) < 1e-5  # rounding
