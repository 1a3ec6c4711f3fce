"""The frozen records that cross rooms.

Shapes use the words of the field: an image is float32 `[height, width, 3]` in [0, 1] once decoded,
an attribution has the shape of the image (or one channel less where channels were reduced).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.core.vocabulary import Stage


@dataclass(frozen=True, order=True)
class Chunk:
    """A fixed range of one shard: the unit of work, retry and resume.

    Attributes:
        id: names the part file; stable for the same shard, range and format.
        shard: URI of the shard (a folder, for `files`).
        name: the shard's name relative to the inputs' common folder, the head of every image id.
        format: `tfrecord`, `webdataset`, `parquet` or `files`.
        start: index of the chunk's first image within the shard.
        count: number of images.
        offset: where `start` lies: a byte offset in the uncompressed shard (`tfrecord`,
            `webdataset`), a row (`parquet`), unused for `files`.
        members: file names relative to `shard` (`files` only).
        keyed: whether image ids end in the sample's key; False where keys repeat or do not exist.
        damage: what broke the shard right after this chunk's images; empty when nothing did.
    """

    id: str
    shard: str
    name: str
    format: str
    start: int
    count: int
    offset: int = 0
    members: tuple[str, ...] = ()
    keyed: bool = False
    damage: str = ""


@dataclass(frozen=True)
class Image:
    """One image as read from a shard, still encoded.

    Attributes:
        id: `<shard name>#<key or index>`, stable between runs.
        shard: URI of the shard.
        index: position within the shard.
        data: the encoded bytes (JPEG, PNG, …).
        label: a class index, a class name, or None.
        fields: further string columns or keys of the input, by name.
        mask: an encoded picture of what the image shows: zero outside; None where there is none.
    """

    id: str
    shard: str
    index: int
    data: bytes
    label: int | str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    mask: bytes | None = None


@dataclass(frozen=True)
class Pixels:
    """A decoded image.

    Attributes:
        array: float32 `[height, width, 3]` in [0, 1].
        height: of the original.
        width: of the original.
        mask: bool `[height, width]`, what the image shows; None where that is not known.
    """

    array: np.ndarray
    height: int
    width: int
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Failure:
    """An image that could not be attributed: where it came from, at which stage, and why.

    `stage` is one of `vocabulary.STAGES`; `error` is the exception's class name.
    """

    image_id: str
    shard: str
    index: int
    stage: Stage
    error: str
    message: str


@dataclass(frozen=True)
class Faithfulness:
    """How far the model's probability follows an attribution map; None where that was not measured.

    Attributes:
        insertion_auc: mean probability of the target while the baseline gets the image's pixels, the highest first.
        deletion_auc: the same while the image gets the baseline's.
    """

    insertion_auc: float | None = None
    deletion_auc: float | None = None


@dataclass(frozen=True)
class Randomisation:
    """Whether maps change when the weights of the model's last layer are replaced by random ones.

    Attributes:
        images: how many were attributed with both.
        similarity: rank correlation of the two maps, averaged over the images; in [-1, 1]. None without images.
        passed: whether they differ; None without images.
        reason: why there are none; empty otherwise.
    """

    images: int = 0
    similarity: float | None = None
    passed: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Attribution:
    """The integrated gradients of one score of one image.

    Attributes:
        target: class index whose score was attributed.
        rank: how many classes had a higher output; 0 for the top prediction.
        values: float32 `[height, width, 3]`, in units of the score.
        score: F(x).
        baseline_score: F(x'), averaged over the baselines.
        convergence_delta: `sum(values) − (score − baseline_score)`.
        error_estimate: estimated L1 error of `values` over its L1 norm.
        converged: whether `error_estimate` is within the tolerance (always True for a fixed rule).
        steps: gradient evaluations spent, over all baselines.
        path: stored steps of the path, float32 `[n, 3]`: alpha, score, dF/dalpha, sorted by alpha,
            averaged over baselines where these share alphas; for saturation curves.
        gradient: dF/dx at the image itself, float32 `[height, width, 3]`, where the settings want it.
        faithfulness: how far the model's probability follows `values`, where the image was chosen for it.
    """

    target: int
    rank: int
    values: np.ndarray
    score: float
    baseline_score: float
    convergence_delta: float
    error_estimate: float
    converged: bool
    steps: int
    path: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    gradient: np.ndarray | None = None
    faithfulness: Faithfulness = Faithfulness()


@dataclass(frozen=True)
class Prediction:
    """One of an image's highest-scoring classes."""

    target: int
    name: str
    probability: float


@dataclass(frozen=True)
class Explanation:
    """An image with what the model looked at.

    Attributes:
        image: the image as read.
        pixels: what the model saw, and the original size.
        label: the label's class index, where known.
        predictions: the highest classes, highest first.
        attributions: one for each target, highest score first.
    """

    image: Image
    pixels: Pixels
    label: int | None
    predictions: tuple[Prediction, ...]
    attributions: tuple[Attribution, ...]


Row = dict[str, Any]
"""One stored row, by column name: the shape in which attributions cross into Parquet."""
