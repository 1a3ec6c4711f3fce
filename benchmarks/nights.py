"""False alarms and missed changes, night by night: `python -m benchmarks.nights`.

One pool of crops is attributed once under two models: EfficientNet-Lite0, and the same with a planted shortcut by
which one class's score also rises with the brightness of a corner. That class's crops are attributed with a bright
stamp there too. Nights of 512 pictures are then redrawn from the stored rows, each compared with what came before: one
night, or the last seven. What is attributed is kept in `--folder`, and not attributed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import shortcut
from benchmarks.common import table, write_json
from pipeline.audit.compare import compare
from pipeline.audit.record import Audit
from pipeline.audit.thresholds import load_thresholds
from pipeline.cli import main as ig_audit
from pipeline.exit_code import ExitCode
from pipeline.samples.cache import build_model, class_names_file
from pipeline.samples.photographs import crops
from support import redraw
from transforms.store.run import Run
from transforms.store.schema import Provenance

CORNER = (0, shortcut.CELLS - 1)
SHARE = 0.1


@dataclass(frozen=True)
class Pool:
    """The stored rows of one model: of the crops, and of those of the class that carry a stamp, in the same order."""

    plain: pa.Table
    stamped: pa.Table
    provenance: Provenance

    @property
    def labels(self) -> np.ndarray:
        """The crops' labels, int `[rows]`."""
        return self.plain.column("label").to_numpy()


@dataclass(frozen=True)
class Scenario:
    """Nights of one kind.

    Attributes:
        name: what happens.
        reference: where the nights before are drawn from.
        draw: makes a candidate night from a source of chance.
        provenance: what the candidate says that it was made by.
        hit: whether an audit says what it should, and no more.
    """

    name: str
    reference: Pool
    draw: Callable[[np.random.Generator], pa.Table]
    provenance: Provenance
    hit: Callable[[Audit], bool]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="runs/nights", help="where pictures, models and rows are kept")
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--images", type=int, default=512, help="of a night")
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--before", type=int, nargs="+", default=[1, 7], help="reference nights")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--target", type=int, default=285, help="the class with the shortcut")
    parser.add_argument("--only", default="", metavar="NAME", help="one row's name, such as 'other class mix'")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    pools = attribute(Path(options.folder), options.crops, options.steps, options.target)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for scenario in scenarios(*pools, options.target, options.images):
            if options.only not in ("", scenario.name):
                continue
            for before in options.before:
                rows.append(_score(scenario, before, options, Path(folder)))
                print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    write_json(options.json, rows)


def attribute(folder: Path, count: int, steps: int, target: int) -> tuple[Pool, Pool]:
    """Returns the pools of the plain model and of the one with the shortcut, attributed unless they are there."""
    pictures = folder / f"pictures-{count}-{target}"
    if not pictures.exists():
        for picture in crops(count):
            shortcut.write_files(pictures / "plain", picture)
            if picture.label == target:
                shortcut.write_files(pictures / "stamped", shortcut.stamp(picture))
    model = folder / f"shortcut-{target}"
    if not model.exists():
        shortcut.save_shortcut(str(model), target)
    models = {"plain": build_model(str(folder)), "shortcut": str(model)}
    return tuple(_pool(folder, name, path, pictures, steps) for name, path in models.items())  # type: ignore[return-value]


def _pool(folder: Path, name: str, model: str, pictures: Path, steps: int) -> Pool:
    run = folder / f"{name}-{pictures.name}-{steps}-logit"
    if not (run / "manifest.json").exists():
        arguments = ["run", "--input", str(pictures), "--model", model, "--output", str(run), "--resume"]
        arguments += ["--class_names", class_names_file(str(folder)), "--resize", "stretch", "--dtype", "int8"]
        arguments += ["--channels", "sum", "--rule", "midpoint", "--steps", str(steps), "--max_error_rate", "0"]
        arguments += ["--score", "logit"]
        if code := ig_audit(arguments):
            raise RuntimeError(f"attribution ended with exit code {code}")
    finished = Run.open(str(run))
    rows = redraw.read_pool(finished).sort_by("image_id")
    stamped = pc.match_substring(rows.column("shard"), "/stamped/")
    return Pool(rows.filter(pc.invert(stamped)), rows.filter(stamped), finished.manifest.provenance)


def scenarios(plain: Pool, biased: Pool, target: int, images: int) -> Iterator[Scenario]:
    """Yields what may happen in a night."""

    def drawn(pool: Pool) -> Callable[[np.random.Generator], pa.Table]:
        return lambda rng: draw(pool, images, rng)

    def stamped(pool: Pool) -> Callable[[np.random.Generator], pa.Table]:
        return lambda rng: stamp(pool, draw(pool, images, rng), target, rng)

    replaced = dataclasses.replace(plain.provenance, model_digest=biased.provenance.model_digest)
    yield Scenario("nothing, plain model", plain, drawn(plain), plain.provenance, lambda audit: not _alarms(audit))
    yield Scenario("nothing, shortcut", biased, drawn(biased), biased.provenance, lambda audit: not _alarms(audit))
    yield Scenario(
        "stamps, shortcut", biased, stamped(biased), biased.provenance, lambda audit: _names_corner(audit, target)
    )
    yield Scenario(
        "stamps, plain model", plain, stamped(plain), plain.provenance, lambda audit: not _names_corner(audit, target)
    )
    yield Scenario("another model", plain, drawn(biased), replaced, lambda audit: "model" in _alarms(audit))
    yield Scenario(
        "other class mix",
        plain,
        lambda rng: draw(plain, images, rng, shift=target),
        plain.provenance,
        lambda audit: audit.mix.drift and not _alarms(audit),
    )


def draw(pool: Pool, images: int, rng: np.random.Generator, shift: int | None = None) -> pa.Table:
    """Returns a night of different crops; with `shift`, of that class three times as many as usual."""
    mine = pool.labels == shift
    more = round(3 * mine.mean() * images)
    parts = [rng.choice(np.flatnonzero(mine), more, replace=False)] if more else []
    parts.append(rng.choice(np.flatnonzero(~mine), images - more, replace=False))
    return redraw.take(pool.plain, np.sort(np.concatenate(parts)))


def stamp(pool: Pool, night: pa.Table, target: int, rng: np.random.Generator) -> pa.Table:
    """Returns a night in which a share of the class's crops carry the stamp."""
    mine = np.flatnonzero(night.column("label").to_numpy() == target)
    chosen = rng.choice(mine, max(1, round(SHARE * len(mine))), replace=False)
    names = [_name(image_id) for image_id in pool.stamped.column("image_id").to_pylist()]
    positions = {name: position for position, name in enumerate(names)}
    ids = night.column("image_id").to_pylist()
    swapped = redraw.take(pool.stamped, [positions[_name(ids[row])] for row in chosen])
    kept = redraw.take(night, np.setdiff1d(np.arange(len(night)), chosen))
    return pa.concat_tables([kept, swapped]).combine_chunks()


def _name(image_id: str) -> str:
    return image_id.rpartition("#")[2]


def _alarms(audit: Audit) -> set[str]:
    return {reason.topic for reason in audit.verdict.reasons if reason.alarm}


def _names_corner(audit: Audit, target: int) -> bool:
    """Returns whether the audit names the class and the stamp's cell as what changed, and no other cell first."""
    return any(
        (one.kind, one.value) == ("label", str(target))
        and one.grid is not None
        and [(cell.row, cell.col) for cell in one.grid.changed][:1] == [CORNER]
        for one in audit.slices
    )


def _score(scenario: Scenario, before: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Returns how many nights of a scenario raised an alarm, and how many were judged as they should be."""
    alarms = hits = 0
    seconds, thresholds = [], load_thresholds()
    for night in range(options.nights):
        rng = np.random.default_rng([night, before])
        references = [
            _write(
                folder / f"before-{i}", draw(scenario.reference, options.images, rng), scenario.reference.provenance, i
            )
            for i in range(before)
        ]
        candidate = _write(folder / "candidate", scenario.draw(rng), scenario.provenance, before)
        start = time.perf_counter()
        audit = compare(candidate, references, thresholds)
        seconds.append(time.perf_counter() - start)
        alarms += audit.verdict.exit_code == ExitCode.DRIFT
        hits += scenario.hit(audit)
        shutil.rmtree(folder)
        folder.mkdir()
    return {
        "what happens": scenario.name,
        "reference nights": before,
        "nights": options.nights,
        "alarms": alarms,
        "judged right": hits,
        "seconds": float(np.median(seconds)),
    }


def _write(run: Path, rows: pa.Table, provenance: Provenance, day: int) -> Run:
    return redraw.write_night(str(run), rows, provenance, f"2026-11-{day + 1:02d}T22:00:00+00:00")


if __name__ == "__main__":
    main()
