"""A million images through the whole job with a model that costs nothing: `python -m benchmarks.scale`.

The stub model takes 8 × 8 pixels and knows 1,000 classes; its maps and scores come from a pool made before. Nothing is
decoded and nothing integrated. All else is the job as it is: TFRecord shards are planned and read, rows made, stored
and summarised by two worker processes, statistics merged, manifest and report written; then the run is verified. Each
phase is a process of its own. Peaks are resident sets as the kernel counts them, times are the processors', of all
processes: a shared machine makes the wall's clock meaningless.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import table, write_json

ROOT = Path(__file__).resolve().parents[1]
PHASES = ("plan", "job", "verify")

_SHARD_IMAGES = 10_000
CLASSES = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs each size and prints what it took."""
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--folder", help="where shards and runs are written, 2 KB an image (default: temporary)")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.phase:
        print(json.dumps(measured(options.phase, Path(options.folder))))
        return
    rows = []
    for images in options.images:
        with tempfile.TemporaryDirectory(prefix="scale-", dir=options.folder) as folder:
            rows.append(measure(images, Path(folder)))
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(_report(rows))
    write_json(options.json, rows)


def measure(images: int, folder: Path) -> dict[str, Any]:
    """Returns what `images` images cost in each phase, and what is left of them on disk."""
    write_shards(folder / "shards", images)
    row: dict[str, Any] = {"images": images}
    for phase in PHASES:
        command = [sys.executable, "-m", "benchmarks.scale", "--phase", phase, "--folder", str(folder)]
        start = time.monotonic()
        told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        row[phase] = json.loads(told.splitlines()[-1]) | {"wall s": time.monotonic() - start}
    run = folder / "run"
    row["files"] = sum(1 for path in run.rglob("*") if path.is_file())
    for name, path in (("run", run), ("shards", folder / "shards")):
        row[f"{name} bytes"] = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    for name in ("manifest.json", "report.html", "statistics/statistics.parquet"):
        row[name] = (run / name).stat().st_size
    shutil.rmtree(run)
    return row


def measured(phase: str, folder: Path) -> dict[str, Any]:
    """Runs a phase in this process; returns its peak, processor seconds and what it tells itself."""
    with contextlib.redirect_stdout(sys.stderr):
        told = {"plan": _plan, "job": _job, "verify": _verify}[phase](folder)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return {"peak MiB": int(peak[1]) / 1024 if peak else 0.0, "cpu s": time.process_time(), **told}


def write_shards(folder: Path, images: int) -> None:
    """Writes shards of one and the same picture, with labels that go round."""
    import PIL.Image

    from transforms.formats.tfrecord_header import masked_crc32c

    stream = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (200, 30, 60)).save(stream, "PNG")
    records = []
    for label in range(CLASSES):
        content = _example(stream.getvalue(), label)
        head = struct.pack("<Q", len(content))
        records.append(
            b"".join([head, struct.pack("<I", masked_crc32c(head)), content, struct.pack("<I", masked_crc32c(content))])
        )
    folder.mkdir(parents=True)
    shards = -(-images // _SHARD_IMAGES)
    for shard in range(shards):
        with open(folder / f"scale-{shard:05d}-of-{shards:05d}.tfrecord", "wb") as file:
            for index in range(shard * _SHARD_IMAGES, min(images, (shard + 1) * _SHARD_IMAGES)):
                file.write(records[index % CLASSES])


def _example(picture: bytes, label: int) -> bytes:
    import tensorflow as tf

    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _config(folder: Path) -> Any:
    from pipeline.config import AuditConfig

    return AuditConfig(
        input=(str(folder / "shards"),), model="stub", output=str(folder / "run"), rule="midpoint", faithfulness=0
    )


def _plan(folder: Path) -> dict[str, Any]:
    from transforms import formats

    config = _config(folder)
    chunks = images = 0
    start = time.process_time()
    for shard in formats.expand(config.input, config.input_format):
        for chunk in formats.plan(shard, config.read_options()):
            chunks, images = chunks + 1, images + chunk.count
    return {"phase s": time.process_time() - start, "chunks": chunks, "planned": images}


def _job(folder: Path) -> dict[str, Any]:
    from benchmarks.scale_stub import StubChunks, worker_figures
    from pipeline import graph, run
    from pipeline.config import digest
    from pipeline.launch import Job
    from transforms import formats, store
    from transforms.core.model.options import ModelOptions
    from transforms.worker import AttributorSpec

    config = _config(folder)
    provenance = store.Provenance(config.shaping(), digest(config.shaping()), config.model, "0" * 64, {})
    names = ModelOptions(class_names=tuple(f"class {index}" for index in range(CLASSES)))
    spec = AttributorSpec(config.model, names, config.settings())
    shards = tuple(formats.expand(config.input, config.input_format))
    (folder / "workers").mkdir()
    StubChunks.folder = str(folder / "workers")
    graph.AttributeChunks = StubChunks
    start = time.process_time()
    job = Job(config, shards, spec, provenance, "2026-01-01T00:00:00+00:00")
    code = run.run(job, ["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
    if code:
        raise RuntimeError(f"the job ended with {code}")
    return {"phase s": time.process_time() - start, "workers": worker_figures(folder / "workers")}


def _verify(folder: Path) -> dict[str, Any]:
    from pipeline.verify.check import verify
    from transforms import process
    from transforms.store.run import Run

    process.return_freed()  # as the command does
    start = time.process_time()
    run = Run.open(str(folder / "run"))
    findings = verify(run)
    if findings:
        raise RuntimeError("\n".join(map(str, findings)))
    seconds = time.process_time() - start
    return {"phase s": seconds, "verified": run.manifest.rows}


def _report(rows: Sequence[dict[str, Any]]) -> str:
    def micros(row: dict[str, Any], seconds: float) -> int:
        return round(seconds / row["images"] * 1e6)

    peaks, costs, disk = [], [], []
    for row in rows:
        job, workers = row["job"], row["job"]["workers"]
        peaks.append(
            {"images": row["images"], "plan, peak MiB": row["plan"]["peak MiB"], "driver": job["peak MiB"]}
            | {"worker": workers["peak MiB"], "verify": row["verify"]["peak MiB"]}
        )
        within = {name: micros(row, seconds) for name, seconds in workers["within"].items()}
        costs.append(
            {"images": row["images"], "plan, µs/image": micros(row, row["plan"]["phase s"])}
            | within
            | {"read, merge, Beam": micros(row, workers["cpu s"]) - sum(within.values())}
            | {"driver, report": micros(row, job["phase s"]), "verify": micros(row, row["verify"]["phase s"])}
        )
        disk.append(
            {"images": row["images"], "chunks": row["plan"]["chunks"], "files": row["files"]}
            | {"run, MB": row["run bytes"] / 1e6, "statistics, MB": row["statistics/statistics.parquet"] / 1e6}
            | {"manifest, MB": row["manifest.json"] / 1e6, "report, MB": row["report.html"] / 1e6}
        )
    ratios = [
        f"{name}: peak at {row['images']} images over that at {peaks[0]['images']}: {row[name] / peaks[0][name]:.3f}"
        for row in peaks[1:]
        for name in ("plan, peak MiB", "driver", "worker", "verify")
    ]
    return "\n\n".join([table(peaks), table(costs), table(disk), "\n".join(ratios)])


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
