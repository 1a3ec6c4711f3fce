"""What a run will take, and how well it will know a mean: by a finished run of the same model, or measured here."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audit.references import find_references
from pipeline.config import AuditConfig
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.record import Chunk, Failure, Image
from transforms.store.rows import rows_of
from transforms.store.run import Run

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor

_MOST = 16
_FIRST = 2
_LEAST = 8
"""Pictures from which a spread is estimated at least."""

_LEAST_OF_SLICE = 30
_NORMAL = 1.959964
"""Of a normal distribution, 95 % are within so many standard deviations."""


@dataclass(frozen=True)
class Spread:
    """How much the signed share of the largest cell differs between pictures.

    Attributes:
        deviation: its standard deviation; a share is from -1 to 1, so that this is 1 at most.
        known_from: how that is known.
    """

    deviation: float = 1.0
    known_from: str = "in the worst case"

    def half_width(self, images: float) -> float:
        """Returns half the width of the 95 % interval of the mean over so many images."""
        return _NORMAL * self.deviation / math.sqrt(max(1.0, images))

    def images_for(self, half_width: float) -> int:
        """Returns how many images give an interval of this half width."""
        return max(2, math.ceil((_NORMAL * self.deviation / half_width) ** 2))


@dataclass(frozen=True)
class IntervalCost:
    """What it costs to know the mean share of the largest cell to a half width (95 %).

    Attributes:
        half_width: of the interval.
        of: whose mean: `all images` or a number of classes.
        each: images that it takes of each of them.
        images: images that the run attributes for that; all of the input if there are not enough.
        gradients: gradient evaluations of these; None if they are not known.
        hours: of one worker.
        enough: whether there are enough images.
        spread: by which this is known.
    """

    half_width: float
    of: str
    each: int
    images: int
    gradients: float | None
    hours: float
    enough: bool
    spread: Spread


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        seconds_an_image: of one worker.
        bytes_an_image: of the run directory.
        images: how many the run will attribute.
        known_from: a run of the same model and options; empty if this machine was measured.
        steps_an_image: gradient steps; None if they were not measured.
        steps_a_second: likewise.
        measured: number of images that this was measured with.
        spread: of the largest cell of these images' maps.
    """

    seconds_an_image: float
    bytes_an_image: float
    images: int
    known_from: str = ""
    steps_an_image: float | None = None
    steps_a_second: float | None = None
    measured: int = 0
    spread: Spread | None = None

    @property
    def hours(self) -> float:
        """Hours of one worker for the whole run."""
        return self.seconds_an_image * self.images / 3600

    @property
    def gigabytes(self) -> float:
        """Size of the run directory."""
        return self.bytes_an_image * self.images / 1e9


def measure(attributor: Attributor, images: Sequence[Image], total: int, seconds: float) -> Cost | None:
    """Returns the cost of a run by attributing a few images; None if none of them can be.

    Args:
        attributor: loaded and warm.
        images: that can be decoded.
        total: number of images of the run.
        seconds: after which no further image is attributed, except the first ones.
    """
    settings, classifier = attributor.settings, attributor.classifier
    steps: list[int] = []
    shares: list[np.ndarray] = []
    spent, done = 0.0, 0
    with tempfile.TemporaryDirectory(prefix="ig-audit-") as folder:
        chunk, provenance = Chunk("0", "", "", "files", 0, 0), store.Provenance({}, "", "", "", {})
        with store.write_part(folder, chunk, provenance, settings, classifier.input_shape) as part:
            start = time.monotonic()
            while done < min(_MOST, len(images)):
                count = int((seconds - spent) / (spent / done)) if done else _FIRST
                if count < 1:
                    break
                few = images[done : min(done + count, _MOST)]
                for outcome in attributor.attribute(few, lambda batch, _: steps.append(batch)):
                    if not isinstance(outcome, Failure):
                        rows = rows_of(outcome, settings, classifier.names)
                        part.add(rows)
                        shares += [row["signed_grid"] for row in rows if row["signed_grid"] is not None]
                done += len(few)
                spent = time.monotonic() - start
    measured = part.summary.images
    if not measured:
        return None
    return Cost(
        seconds_an_image=spent / measured,
        bytes_an_image=part.summary.attributions.bytes / measured,
        images=total,
        steps_an_image=sum(steps) / measured,
        steps_a_second=sum(steps) / spent,
        measured=measured,
        spread=_spread_of(shares),
    )


def _spread_of(shares: Sequence[np.ndarray]) -> Spread | None:
    """Returns the spread of the cell whose mean is the largest; None if there are too few pictures."""
    if len(shares) < _LEAST:
        return None
    cells = np.reshape(shares, (len(shares), -1)).astype(np.float64)
    largest = np.abs(cells.mean(axis=0)).argmax()
    return Spread(float(cells[:, largest].std(ddof=1)), f"by {len(shares)} pictures attributed here")


def spread_of_runs(uris: Sequence[str], grid: int) -> Spread | None:
    """Returns the spread within the classes of the latest finished run; None if there is no run of this grid.

    It is the median over classes of that of their largest cells; of all pictures together, if no class has enough.

    Args:
        uris: run directories, and folders of them.
        grid: cells a side of the importance grid.
    """
    for uri in uris:
        with contextlib.suppress(OSError, ValueError):
            for run in reversed(find_references([uri])):
                if run.manifest.provenance.config.get("grid") == grid and (found := _spread_within(run)):
                    return found
    return None


def _spread_within(run: Run) -> Spread | None:
    rows = run.statistics(["kind", "count", "mean_signed_grid", "std_signed_grid"]).to_pylist()
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["count"] >= _LEAST_OF_SLICE and row["mean_signed_grid"]:
            largest = int(np.abs(row["mean_signed_grid"]).argmax())
            found.setdefault(row["kind"], []).append(row["std_signed_grid"][largest])
    kind = next((kind for kind in ("label", "predicted", "all") if kind in found), None)
    return Spread(float(np.median(found[kind])), f"by the spread in {run.uri}") if kind else None


def interval_costs(
    cost: Cost, spread: Spread, half_width: float, images: int, classes: Collection[float]
) -> tuple[IntervalCost, ...]:
    """Returns what it costs to know the mean of all images so well and, if classes are known, that of each of them.

    Args:
        cost: of an image.
        spread: of a cell between images.
        half_width: of the interval, above 0.
        images: of the input.
        classes: images of each class of the input, about; empty if labels are not known.
    """
    each = spread.images_for(half_width)
    shares = {"all images": each / max(1, images)}
    if classes:
        shares[f"each of {len(classes):,} classes"] = each / max(1, min(classes))
    found = []
    for of, share in shares.items():
        taken = min(images, math.ceil(share * images))
        gradients = None if cost.steps_an_image is None else cost.steps_an_image * taken
        hours = cost.seconds_an_image * taken / 3600
        found.append(IntervalCost(half_width, of, each, taken, gradients, hours, share <= 1, spread))
    return tuple(found)


def from_last_run(cost: Cost, config: AuditConfig, model_digest: str) -> Cost:
    """Returns the cost by the latest finished run of this model and these settings; as measured if there is none."""
    found = last_run(config, model_digest, known_runs(config))
    if found is None:
        return cost
    size, manifest = sum(file.bytes for file in found.files), found.manifest
    return dataclasses.replace(
        cost,
        seconds_an_image=seconds_of(found) / manifest.worker_images,
        bytes_an_image=size / manifest.images,
        known_from=found.uri,
    )


def last_run(config: AuditConfig, model_digest: str, folders: Sequence[str]) -> Run | None:
    """Returns the latest finished run of this model and these settings in the first folder of runs that has one."""
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            for run in reversed(find_references([folder])):
                manifest = run.manifest
                known = seconds_of(run) and manifest.images and manifest.worker_images
                if known and _is_alike(run, config, model_digest):
                    return run
    return None


def known_runs(config: AuditConfig) -> tuple[str, ...]:
    """Returns where earlier runs may be: the references, the runs to reuse, and the folder of an output with a date."""
    parent, _, name = config.output.rpartition("/")
    return (*config.reference, *config.reuse, *([parent or "."] if "{date}" in name else []))


def seconds_of(run: Run) -> float:
    """Returns the seconds that workers spent on a run's images; 0 if the run does not say."""
    found = run.manifest.facts.get("worker_seconds")
    return float(found) if isinstance(found, int | float) else 0.0


def _is_alike(run: Run, config: AuditConfig, model_digest: str) -> bool:
    """Returns whether an image of a run cost what it will now: the same model and settings."""
    stored, now = run.manifest.provenance, config.shaping()
    names = [field.name for field in dataclasses.fields(Settings)]
    return stored.model_digest == model_digest and all(stored.config.get(name) == now[name] for name in names)
