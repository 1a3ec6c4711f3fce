"""CoRelAy's pipeline for SpRAy (Lapuschkin et al. 2019) on drawn rows, in an environment of its own.

    python spray.py ROWS.npz CLUSTERS.npz

Each array of the first, float `[rows, cells]`, gets one in the second: int `[rows]`, the cluster of each row.
"""

from __future__ import annotations

import sys

import numpy as np

CLUSTERS = 8


def main() -> None:
    """Clusters every array of the file."""
    from corelay.pipeline.spectral import SpectralClustering  # which only that environment has
    from corelay.processor.clustering import KMeans

    with np.load(sys.argv[1]) as draws:
        pipeline = SpectralClustering(clustering=KMeans(n_clusters=CLUSTERS, is_output=True))
        np.savez(sys.argv[2], **{name: pipeline(draws[name].astype(np.float64))[1] for name in draws.files})


if __name__ == "__main__":
    main()
