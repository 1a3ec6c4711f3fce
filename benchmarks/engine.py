"""The compiled step against a plain gradient: `python -m benchmarks.engine [--model NAME] [--json FILE]`.

Evaluations a second of a plain `tf.function` with a GradientTape at its best batch size, and of the
compiled step with each pass added in turn, all at two cores, all in turns in one process. A second
process measures the plain gradient under TensorFlow's own settings, which leave oneDNN off on many
processors; ours switch it on. `of peak` is the share of the rate at which the machine multiplies
matrices, counting the multiplications of convolutions and products, forward and back.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.common import in_turns, rate, table, write_json
from support.networks import NAMES, save_network
from transforms.core.cpus import usable_cpus
from transforms.core.model.step_batch import StepBatch, midpoints

if TYPE_CHECKING:
    from transforms.core.model.classifier import Classifier
    from transforms.core.model.step import CompiledStep

BATCHES = (4, 8, 16, 32)
_WEIGHTED = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the networks that the command line names and prints a table for each."""
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description="evaluations a second, pass by pass")
    parser.add_argument("--model", nargs="+", default=["lite0", "inception_v1"], choices=NAMES)
    parser.add_argument("--batch", nargs="+", type=int, default=BATCHES, help="batch sizes to try")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn of one measure")
    parser.add_argument("--processor-time", action="store_true", help="count the cores' time: for a busy machine")
    parser.add_argument("--models", default=os.path.join(tempfile.gettempdir(), "ig-audit-networks"), metavar="FOLDER")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    results = {}
    for name in options.model:
        results[name] = measure(save_network(name, options.models), options)
        print(f"\n{name}: {results[name]['gflop']:.2f} GFLOP an evaluation, peak {results[name]['peak']:.0f} GFLOP/s")
        print(table(results[name]["rows"]), flush=True)
    write_json(options.json, {"machine": f"{platform.processor()} {usable_cpus()} cores", "models": results})


def measure(path: str, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the rows of one network's table."""
    with ProcessPoolExecutor(1, get_context("spawn"), _use_default_settings) as other:
        return _measure(path, options, other)


def _use_default_settings() -> None:
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)


def _measure(path: str, options: argparse.Namespace, other: ProcessPoolExecutor) -> dict[str, Any]:
    from transforms.core.model import classifier
    from transforms.core.model.step import ALL, compile_step

    def elsewhere(batch: int) -> Callable[[], float]:
        return lambda: other.submit(_plain_rate, path, batch, options.seconds, options.processor_time).result()

    def here(call: Callable[[], Any], batch: int, threads: int) -> Callable[[], float]:
        return lambda: rate(call, batch, threads, options.seconds, options.processor_time)

    model = classifier.load(path)
    plain = {batch: _plain(model, batch) for batch in options.batch}
    measures = {f"plain, TensorFlow's settings|{batch}|1": elsewhere(batch) for batch in options.batch}
    measures |= {f"plain|{batch}|1": here(plain[batch], batch, 1) for batch in options.batch}
    for count in range(1, len(ALL) + 1):
        name = f"+ {ALL[count - 1]}"
        step = compile_step(model, options.batch[0], ALL[:count])
        if step.report[count - 1].applied:
            for batch in options.batch[:2]:
                measures[f"{name}|{batch}|1"] = here(_stepped(step.with_batch(batch)), batch, 1)
    for batch in options.batch[:3]:
        measures[f"{usable_cpus()} batches in flight|{batch}|{usable_cpus()}"] = here(
            _stepped(step.with_batch(batch)), batch, usable_cpus()
        )
    for name, take in measures.items():
        print(f"first call of {name.replace('|', ' ')}: {take():.1f}", file=sys.stderr, flush=True)
    rates = in_turns(measures, options.turns)
    peak = in_turns({"peak": lambda: _peak(options.processor_time)}, options.turns)["peak"]
    return {"gflop": _gflop(model), "peak": peak, "all": rates, "rows": _rows(rates, _gflop(model), peak)}


def _rows(rates: dict[str, float], gflop: float, peak: float) -> list[dict[str, Any]]:
    """Returns one row for each engine, at its best batch."""
    best: dict[str, dict[str, Any]] = {}
    for key, found in rates.items():
        name, batch, _ = key.split("|")
        if name not in best or found > best[name]["evaluations/s"]:
            best[name] = {"engine": name, "batch": int(batch), "evaluations/s": found}
    default, plain = (best[name]["evaluations/s"] for name in ("plain, TensorFlow's settings", "plain"))
    for row in best.values():
        row["over plain"] = row["evaluations/s"] / plain
        row["over TensorFlow's settings"] = row["evaluations/s"] / default
        row["of peak"] = f"{gflop * row['evaluations/s'] / peak:.0%}"
    return list(best.values())


_REMOTE: dict[tuple[str, int], Callable[[], Any]] = {}


def _plain_rate(path: str, batch: int, seconds: float, by_processor: bool) -> float:
    """Returns evaluations a second of the plain gradient; runs in the process with TensorFlow's settings."""
    from transforms.core.model import classifier

    if (path, batch) not in _REMOTE:
        _REMOTE[path, batch] = _plain(classifier.load(path), batch)
    return rate(_REMOTE[path, batch], batch, 1, seconds, by_processor)


def _plain(model: Classifier, batch: int) -> Callable[[], Any]:
    """Returns a call of the gradient as anyone would write it."""
    import tensorflow as tf

    @tf.function
    def gradients(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = model.score(model.outputs(images), targets)
        return tape.gradient(scores, images)

    images = tf.random.uniform([batch, *model.input_shape])
    targets = tf.zeros([batch], tf.int32)
    return lambda: gradients(images, targets).numpy()


def _stepped(step: CompiledStep) -> Callable[[], Any]:
    """Returns a call of the compiled step on the path of one image."""
    generator = np.random.default_rng(0)
    end = generator.random(step.path_shape, np.float32)
    batch = StepBatch.of_path(np.zeros_like(end), end, midpoints(step.batch), weight=1.0, target=0)
    return lambda: step.run(batch)


def _gflop(model: Classifier) -> float:
    """Returns the work of one evaluation: a multiplication and an addition per weight and position, twice."""
    from transforms.core.model.passes.nodes import Nodes
    from transforms.core.model.passes.simplify import simplify

    if model.frozen is None:
        return 0.0
    graph = simplify(model.frozen)
    nodes, shapes = Nodes(graph), graph.shapes(batch=1)
    total = 0
    for node in nodes:
        weights = nodes.constant(node.input[1]) if node.op in _WEIGHTED else None
        if weights is not None and node.name in shapes:
            total += weights.size * int(np.prod(shapes[node.name][1:-1]))
    return 2 * 2 * total / 1e9


def _peak(by_processor: bool) -> float:
    """Returns GFLOP/s of a product of two large matrices on all cores."""
    import tensorflow as tf

    size = 1536
    product = tf.function(tf.matmul)
    values = tf.random.normal([size, size])
    product(values, values)
    return rate(lambda: product(values, values).numpy(), 1, by_processor=by_processor) * 2 * size**3 / 1e9


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    main()
