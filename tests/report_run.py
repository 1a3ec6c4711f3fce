"""Stored nights of many small pictures, and an audit of them made by hand: for tests of what reports them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from support.random_rows import merge_slices
from tests import stored_run
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.image.decode import encode_thumbnail
from transforms.core.maps.importance import summarize_map
from transforms.core.maps.quantize import quantize
from transforms.core.record import Chunk, Failure, Row
from transforms.core.statistics.importance import summarize_rows
from transforms.store.run import Run

SIDE = 32
SETTINGS = Settings()
NAMES = ("tabby", "espresso", "moped", "tripod", "church", "honeycomb", "missile", "palace")
PROVENANCE = store.Provenance(
    config={"baseline": "black", "channels": "all", "grid": 8, "tolerance": 0.05, "max_steps": None},
    config_digest="c0ffee" * 10,
    model="models/efficientnet-lite0",
    model_digest="13130ba4" * 8,
    versions={"ig-audit": "0.1.0", "numpy": "2"},
)


def write_night(
    run_uri: str,
    images: int,
    seed: int = 0,
    stamped: float = 0.0,
    failing: int = 0,
    names: Sequence[str] = NAMES,
    chunk_images: int = 64,
    created: str = "2026-11-21T22:00:00+00:00",
) -> store.Manifest:
    """Writes a finished run.

    Args:
        run_uri: the run directory.
        images: how many were attributed.
        seed: of their pictures and maps.
        stamped: share of the pictures of class 1 whose attribution lies in the lower right corner.
        failing: how many more could not be attributed.
        names: of the classes; every tenth picture is mistaken for the next class.
        chunk_images: images in a part.
        created: when it was finished.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, images, chunk_images):
        count = min(chunk_images, images - start)
        shard = f"shard-{start // chunk_images:05d}"
        chunk = Chunk(shard, f"/in/{shard}", shard, "tfrecord", 0, count + (failing if not start else 0))
        with store.write_part(run_uri, chunk, PROVENANCE, SETTINGS, (SIDE, SIDE, 3)) as part:
            for position in range(count):
                part.add([make_row(rng, chunk, position, (start + position) % len(names), names, stamped)])
            for position in range(count, chunk.count):
                error = ("decode", "DecodeError", "cannot identify image file") if position % 3 else ("label",) * 3
                part.fail(Failure(f"{chunk.name}#{position}", chunk.shard, position, *error))
        parts.append(part.summary)
    statistics = merge_slices(summarize_rows(stored_run.read_columns(run_uri, part)) for part in parts)
    stored = store.write_statistics(run_uri, statistics, PROVENANCE)
    facts = {"passes": [["cut_stem", ""], ["fold_batch_norm", "no batch norm"]], "worker_seconds": 12.5}
    manifest = store.Manifest(created, PROVENANCE, stored, tuple(parts), facts)
    store.write_manifest(run_uri, manifest)
    return manifest


def make_row(
    rng: np.random.Generator, chunk: Chunk, position: int, label: int, names: Sequence[str], stamped: float
) -> Row:
    """Returns the row of a picture of class `label`: a bright disc on a dark ground, where its map lies too."""
    predicted = (label + 1) % len(names) if rng.random() < 0.1 else label
    center = np.random.default_rng(label).uniform(0.3, 0.7, 2) + rng.normal(0, 0.08, 2)
    if label == 1 and rng.random() < stamped:
        center = np.array([0.93, 0.93])
    axis = (np.arange(SIDE) + 0.5) / SIDE
    disc = np.exp(-((axis[:, None] - center[0]) ** 2 + (axis - center[1]) ** 2) / 0.02)[:, :, None]
    color = np.random.default_rng(100 + label).random(3)
    noise = rng.normal(0, 3e-4, (SIDE, SIDE, 3))
    values = (disc * rng.normal(0.3, 1, (SIDE, SIDE, 3)) * 0.01 + noise).astype(np.float32)
    stored = quantize(values, "float16")
    score = float(rng.beta(4, 2))
    return vars(summarize_map(values, SETTINGS.grid)) | {
        "image_id": f"{chunk.name}#{position}",
        "shard": chunk.shard,
        "index": position,
        "label": label,
        "label_name": names[label],
        "target": predicted,
        "target_name": names[predicted],
        "target_rank": 0,
        "score": score,
        "baseline_score": 0.001,
        "convergence_delta": float(rng.normal(0, 0.01)),
        "error_estimate": float(rng.gamma(8, 0.005)),
        "converged": bool(rng.random() < 0.95),
        "steps": int(rng.integers(24, 90)),
        "predictions": [{"target": predicted, "name": names[predicted], "probability": score}],
        "attribution": stored.values,
        "scale": stored.scale,
        "height": 300,
        "width": 400,
        "thumbnail": encode_thumbnail((0.15 + 0.7 * disc * color).astype(np.float32)),
        "content": hashlib.sha256(values.tobytes()).hexdigest()[:32],
        "path": np.array([[0.25, 0.1, 1.5], [0.75, 0.4, 0.5]], np.float32),
        "fields": [],
        "mask_share": None,
        "pointing_hit": None,
        "insertion_auc": 0.7 * score if position % 10 == 0 else None,
        "deletion_auc": 0.2 * score if position % 10 == 0 else None,
    }


def make_audit(candidate: str, references: Sequence[str], drifted: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Returns an audit.json that calls the slices `drifted` (kind, value) so, whatever their rows say."""
    runs = [_run(uri) for uri in (*references, candidate)]
    nights = [_slices(uri) for uri in (*references, candidate)]
    slices = [_slice(key, row, nights[-2].get(key), key in drifted) for key, row in nights[-1].items()]
    outcome = "drift" if drifted else "fine"
    return {
        "version": 2,
        "created": "2026-11-22T05:00:00+00:00",
        "verdict": {
            "outcome": outcome,
            "exit_code": 3 if drifted else 0,
            "headline": f"What the model looks at changed in {len(drifted)} slices" if drifted else "Nothing changed.",
            "reasons": [
                {"topic": "attention", "alarm": True, "message": f"{kind} {value}: attention moved"}
                for kind, value in drifted
            ]
            + [{"topic": "mix", "alarm": False, "message": "The mix of classes changed."}],
        },
        "candidate": runs[-1],
        "references": runs[:-1],
        "thresholds": {"min_rows": 30},
        "mix": {
            "drift": bool(drifted),
            "p_value": 0.0004,
            "distance": 0.12,
            "self_distance": 0.03,
            "classes": [{"value": "1", "name": "espresso", "reference": 0.1, "candidate": 0.22}],
        },
        "slices": sorted(slices, key=lambda entry: (entry["state"] != "drift", -entry["candidate_rows"])),
        "history": {
            "nights": [{name: run[name] for name in ("uri", "created", "images")} for run in runs],
            "slices": [_history(key, nights) for key in nights[-1]],
        },
        "findings": [],
        "searched": {"classes": 8, "rows": runs[-1]["rows"], "small_classes": 0, "least_rows": 30},
    }


def make_finding(rows: Sequence[int], **changes: Any) -> dict[str, Any]:
    """Returns an entry of an audit's findings, whose examples are these rows of a night of one part after another."""
    return {
        "way": "tail",
        "kind": "label",
        "value": "1",
        "name": "espresso",
        "place": "bottom left corner",
        "cells": [[7, 0]],
        "side": 8,
        "sign": 1,
        "threshold": 5.0,
        "count": 26,
        "rows": 500,
        "usual": 3.1,
        "log10_p": -12.3,
        "accuracy_inside": 1.0,
        "accuracy_outside": 0.62,
        "score_inside": 0.91,
        "score_outside": 0.42,
        "examples": [{"image_id": "any", "row": row, "z": 12.0 - row / 100} for row in rows],
        "message": "26 of 500 pictures of espresso rest on the bottom left corner (3 would be usual)",
    } | changes


def _run(uri: str) -> dict[str, Any]:
    manifest = Run.open(uri).manifest
    counts = {name: getattr(manifest, name) for name in ("created", "images", "rows", "failures")}
    digests = {name: getattr(manifest.provenance, name) for name in ("model", "model_digest", "config_digest")}
    return {"uri": uri, **counts, **digests}


def _slices(uri: str) -> dict[tuple[str, str], Row]:
    columns = ["kind", "value", "name", "count", "mean_grid", "mean_score", "mean_border_share", "mean_gini"]
    return {(row["kind"], row["value"]): row for row in Run.open(uri).statistics(columns).to_pylist()}


def _slice(key: tuple[str, str], row: Row, reference: Row | None, drift: bool) -> dict[str, Any]:
    grid = _grid(row["mean_grid"], reference["mean_grid"], drift) if reference else None
    state = "drift" if drift else "fine" if reference else "new"
    metrics = [_metric("grid", drift, None, None), _metric("border_share", drift, 0.21, 0.34)]
    return {
        "kind": row["kind"],
        "value": row["value"],
        "name": row["name"],
        "state": state,
        "reference_rows": reference["count"] if reference else 0,
        "candidate_rows": row["count"],
        "compared_share": 1.0,
        "metrics": metrics if reference else [],
        "grid": grid,
    }


def _grid(candidate: Sequence[float], reference: Sequence[float], drift: bool) -> dict[str, Any]:
    shares = {"reference": reference, "candidate": candidate}
    errors = {f"{side}_error": [0.01] * 64 for side in shares}
    signs = np.where(np.arange(64) % 3, 0.5, -0.5)
    signed = {side: (signs * values).tolist() for side, values in shares.items()}
    most = np.argsort(-np.abs(np.subtract(candidate, reference)))[:6].tolist() if drift else []
    return {
        "side": 8,
        **shares,
        **errors,
        "changed": [_cell(cell, signed if cell % 5 == 0 else shares, cell % 5 == 0) for cell in most],
        "signed": signed | errors if drift else None,
    }


def _cell(cell: int, values: dict[str, Sequence[float]], signed: bool) -> dict[str, Any]:
    sides = {side: of_side[cell] for side, of_side in values.items()} | {
        "reference_error": 0.01,
        "candidate_error": 0.01,
    }
    return {"row": cell // 8, "col": cell % 8, **sides, "p_value": 0.001, "signed": signed}


def _metric(name: str, drift: bool, reference: float | None, candidate: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "topic": "attention",
        "drift": drift,
        "effect": 0.31 if drift else 0.02,
        "threshold": 0.1,
        "self_effect": 0.04,
        "p_value": 0.0005,
        "q_value": 0.002,
        "distances": {"jensen_shannon": 0.31},
        "reference": reference,
        "candidate": candidate,
        "reference_error": reference and 0.01,
        "candidate_error": candidate and 0.01,
    }


def _history(key: tuple[str, str], nights: Sequence[dict[tuple[str, str], Row]]) -> dict[str, Any]:
    rows = [night.get(key) for night in nights]
    return {
        "kind": key[0],
        "value": key[1],
        "name": nights[-1][key]["name"],
        "rows": [row["count"] if row else 0 for row in rows],
        "means": {
            name: [row[f"mean_{name}"] if row else None for row in rows] for name in ("score", "border_share", "gini")
        },
        "errors": {name: [0.01 if row else None for row in rows] for name in ("score", "border_share", "gini")},
    }
