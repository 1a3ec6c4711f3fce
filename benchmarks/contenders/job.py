"""ig-audit's whole job, `ig-audit run` on a shard: read, decode, attribute, write Parquet, statistics, manifest."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.contenders.process import Contender, Setup, serve
from pipeline import cli
from transforms.store.schema import arrays


class Job(Contender):
    """Runs the command in this process, so that only the first run loads and compiles the model."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._folder = tempfile.TemporaryDirectory(prefix="ig-audit-job-")

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> Path:
        """See Contender."""
        output = Path(tempfile.mkdtemp(dir=self._folder.name), "run")
        options = {
            "input": self._setup.shards[str(len(images))],
            "model": self._setup.saved_model,
            "output": str(output),
            "batch_size": batch or "auto",
            **({"rule": "midpoint", "steps": steps} if steps else {"tolerance": self._setup.tolerance}),
        }
        code = cli.main(["run", *(f"--{name}={value}" for name, value in options.items())])
        if code:
            raise RuntimeError(f"ig-audit run: exit code {code}")
        return output

    def maps(self, result: Path) -> np.ndarray:
        """See Contender."""
        return arrays(pq.read_table(result / "attributions", columns=["attribution"]), "attribution").astype(np.float32)


if __name__ == "__main__":
    serve(Job)
