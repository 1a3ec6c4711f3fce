"""Threads that share the function of a model with residual blocks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from tests.networks import tensor
from transforms.core.model import classifier
from transforms.core.model.step import CompiledStep, compile_step

BLOCKS = 8


def residual_net(folder: Path) -> str:
    """Saves a net of residual blocks, whose summands are read twice: by a convolution and by the sum."""

    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            x = tf.tanh(tf.nn.conv2d(images, tensor(1, 1, 3, 8), 1, "SAME"))
            for block in range(BLOCKS):
                y = tf.nn.bias_add(tf.nn.conv2d(x, tensor(1, 1, 8, 8, seed=block), 1, "SAME"), tensor(8, seed=block))
                x = 0.5 * (y + x)
            return tf.reduce_mean(x, [1, 2])

    tf.saved_model.save(Net(), str(folder))
    return str(folder)


def called(step: CompiledStep, seed: int) -> np.ndarray:
    return step.outputs(np.random.default_rng(seed).random((step.batch, 6, 6, 3), np.float32))


def fused(step: CompiledStep) -> Iterator[list[bytes]]:
    """Yields what TensorFlow fused with each convolution of a step's outputs."""
    context.enable_run_metadata()
    context.export_run_metadata()  # forgets the calls before
    called(step, 0)
    for graphs in context.export_run_metadata().function_graphs:
        for node in graphs.post_optimization_graph.node:
            if "FusedConv2D" in node.op:
                yield list(node.attr["fused_ops"].list.s)
    context.disable_run_metadata()


def wrong(folder: str, calls: int, passes: tuple[str, ...] | None) -> int:
    """Returns how many of the calls that two threads make differ from the same call alone."""
    model = classifier.load(folder)
    step = compile_step(model, 6) if passes is None else compile_step(model, 6, passes)
    alone = [called(step, seed) for seed in range(2)]

    def differing(seed: int) -> int:
        return sum((called(step, seed) != alone[seed]).any() for _ in range(calls))

    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(differing, range(2)))


@pytest.mark.parametrize("passes", [None, ("freeze",), ()])
def test_no_sum_is_fused_with_a_convolution(passes: tuple[str, ...] | None, tmp_path: Path) -> None:
    model = classifier.load(residual_net(tmp_path / "net"))
    step = compile_step(model, 6) if passes is None else compile_step(model, 6, passes)
    found = list(fused(step))
    assert not [names for names in found if b"Add" in names]
    assert len(found) == (0 if passes == () else BLOCKS)  # the bias still is: it makes a sixth of the speed


@pytest.mark.slow
@pytest.mark.parametrize("passes", [None, ()])
def test_threads_get_the_bits_of_calls_alone(passes: tuple[str, ...] | None, tmp_path: Path) -> None:
    folder = residual_net(tmp_path / "net")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:  # the fault ends processes, too
        assert process.submit(wrong, folder, 4000, passes).result() == 0
