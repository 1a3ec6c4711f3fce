"""Are refined maps what their manifest says, are they of the run's rows, and do they give their own rows' numbers?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.verify.files import UNREADABLE, Finding, check_file, check_footer
from transforms.core.maps.importance import summarize_map
from transforms.core.record import Row
from transforms.core.vocabulary import CONTENT, MAP_COLUMNS
from transforms.store import PartSummary
from transforms.store.files import iter_tables
from transforms.store.lookup import rows_of_table
from transforms.store.manifest import MANIFEST
from transforms.store.parts import ATTRIBUTIONS, ERRORS, read_footer
from transforms.store.refined import REFINED, Refined, RefinedPart
from transforms.store.run import Run

_LOSSES = {"float32": 1e-4, "float16": 4e-3, "int8": 0.06}
"""L1 error of a stored map over its L1 norm that a number from it may show, some times that of the form: float16 keeps
11 bits, companded int8 loses 1.9 %, and a difference of shares has twice the error of the map."""

_SAME_SCORE = 0.01
"""Of a score, relative to itself and that of the baseline: what other batches and versions of TensorFlow may change."""

_ROUNDING = 1e-6
"""Of a difference of scores in float32, relative to these."""

_ROWS = 64
_IN_RUN = ("image_id", "target", CONTENT, "score", "baseline_score")
_COLUMNS = (*_IN_RUN, "convergence_delta", "grid", "cells", *MAP_COLUMNS)


def check_refined(run: Run) -> list[Finding]:
    """Returns what is wrong with the refined maps of a finished run; nothing if it has none, or all is well."""
    return [Finding(f"{REFINED}/{each.file}", each.problem) for each in _findings(run)]


def _findings(run: Run) -> Iterator[Finding]:
    folder = Run.open(run.uri_of(REFINED))
    names = [name for name in (*folder.names_of(ATTRIBUTIONS), *folder.names_of(ERRORS)) if "/." not in name]
    try:
        refined = Refined.open(run.uri)
    except UNREADABLE as error:
        yield Finding(MANIFEST, f"cannot be read ({error})")
        return
    if refined is None:
        if names:
            yield Finding(MANIFEST, "is missing: a call of `ig-audit refine` was interrupted; the same call continues")
        return
    manifest, made_by = refined.manifest, run.manifest.provenance
    if (manifest.run_digest, manifest.model_digest) != (made_by.config_digest, made_by.model_digest):
        yield Finding(MANIFEST, "is of a run of other options, or of another model")
        return
    listed = {file.name for part in manifest.parts for file in part.files}
    yield from (Finding(name, "is not in the manifest") for name in names if name not in listed)
    counts = Counter(image_id for part in manifest.parts for image_id in part.images)
    yield from (Finding(MANIFEST, f"lists {name} {count} times") for name, count in counts.items() if count > 1)
    parts = {part.chunk: part for part in run.manifest.parts}
    for part in manifest.parts:
        yield from (finding for file in part.files for finding in check_file(folder.uri, file))
        try:
            yield from _check_part(run, parts.get(part.of), folder, part)
        except FileNotFoundError:
            continue
        except (*UNREADABLE, TypeError) as error:  # a number that is null
            yield Finding(part.part.attributions.name, f"cannot be read ({error})")


def _check_part(run: Run, of: PartSummary | None, folder: Run, part: RefinedPart) -> Iterator[Finding]:
    """Yields what is wrong with a part's footer, its pictures, and the first of its rows that is not right."""
    name, model_digest = part.part.attributions.name, run.manifest.provenance.model_digest
    yield from check_footer(part.part, read_footer(folder.uri_of(name)), part.config_digest, model_digest)
    if of is None:
        yield Finding(name, f"is of chunk {part.of}, which the run does not have")
        return
    stored = {_key(row): row for row in run.part_rows(of, _IN_RUN).to_pylist()}
    found: set[str] = set()
    problems: list[str] = []
    for row in _rows(folder, name):
        found.add(row["image_id"])
        if problem := _problem(row, stored.get(_key(row)), part):
            problems.append(f"its row of {row['image_id']}, class {row['target']}: {problem}")
    failed = {image for table in folder.errors(["image_id"], [part.part]) for image in table.column(0).to_pylist()}
    if not found.issuperset(part.images) or not failed.issuperset(part.failed):
        problems.insert(0, "does not hold all pictures that the manifest lists")
    if problems:
        more = f"; {len(problems) - 1} more like it" if len(problems) > 1 else ""
        yield Finding(name, problems[0] + more)


def _key(row: Row) -> tuple[str, int]:
    return row["image_id"], row["target"]


def _rows(folder: Run, name: str) -> Iterator[Row]:
    with folder.parquet(name, _COLUMNS) as parquet:
        for table in iter_tables(parquet, _COLUMNS, _ROWS):
            yield from rows_of_table(pa.table(table))


def _problem(row: Row, stored: Row | None, part: RefinedPart) -> str:
    """Returns what is wrong with a refined row; empty if it is the run's row, and its map gives its numbers."""
    if stored is None:
        return "the run has no such row"
    if row[CONTENT] != stored.get(CONTENT):
        return "it is of another picture than the run's"
    if abs(row["score"] - stored["score"]) > _SAME_SCORE * (1 + abs(stored["score"]) + abs(stored["baseline_score"])):
        return f"its score is {row['score']:.6g}, that of the run {stored['score']:.6g}"
    values = row["attribution"]
    if not np.isfinite(values).all():
        return "its map is not finite"
    return _contradiction(row, values, part.options.channels, _LOSSES[part.options.dtype])


def _contradiction(row: Row, values: np.ndarray, channels: str, loss: float) -> str:
    """Returns which number of a row its map does not give, as far as the stored channels tell; empty if each fits."""
    side = round(len(row["cells"]) ** 0.5)
    found = summarize_map(values.reshape(*values.shape[:2], -1), side)
    size, total = float(np.abs(values).sum()), float(values.sum(dtype=np.float64))
    if channels in ("all", "sum"):
        gain = row["score"] - row["baseline_score"] + row["convergence_delta"]
        if abs(total - gain) > loss * size + _ROUNDING * (abs(row["score"]) + abs(row["baseline_score"])):
            return f"its map sums to {total:.6g}, its scores and delta say {gain:.6g}"
        if _differ(found.cells, row["cells"], loss * size):
            return "its cells are not those of its map"
    if channels in ("all", "abs_sum") and _differ(found.grid, row["grid"], loss):
        return "its grid is not that of its map"
    return ""


def _differ(found: np.ndarray | None, stored: Sequence[float] | None, most: float) -> bool:
    """Returns whether numbers of a map differ by more than `most` together, or only one side knows them."""
    if found is None or stored is None:
        return (found is None) != (stored is None)
    return bool(np.abs(found.ravel() - np.array(stored)).sum() > most)
