"""Frozen dataclasses passed between modules.

A decoded image is float32 `[height, width, channels]` in [0, 1];
an attribution has the shape of the image (without the channel axis if channels were reduced).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.core.vocabulary import Stage

Label = int | float | str | tuple[int | float | str, ...] | None
"""A label as it is stored: a number, a text, a list of these (indices, names, a vector), or none."""


@dataclass(frozen=True, order=True)
class Chunk:
    """A fixed range of one shard: the unit of work, retry and resume.

    Attributes:
        id: names the part file; stable for the same shard, range and format.
        shard: URI of the shard; for `files`, a folder.
        name: the shard's name relative to the inputs' common folder; every image id begins with it.
        format: `tfrecord`, `webdataset`, `parquet` or `files`.
        start: index of the chunk's first image within the shard.
        count: number of images.
        offset: position of the first image: a byte offset in the uncompressed shard (`tfrecord`,
            `webdataset`), a row (`parquet`), unused for `files`.
        members: file names relative to `shard` (`files` only).
        keyed: whether image ids end in the sample's key; False if keys repeat or do not exist.
        damage: description of the damage right after this chunk's images; empty if there is none.
        dotted: whether keys extend to the last dot of a file name, not to the first (`webdataset` only).
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
    dotted: bool = False


@dataclass(frozen=True)
class Image:
    """One image as read from a shard, still encoded.

    Attributes:
        id: `<shard name>#<key or index>`, stable between runs.
        shard: URI of the shard.
        index: position within the shard.
        data: the encoded bytes (JPEG, PNG, …).
        label: as stored, or None if there is none.
        fields: additional string columns or keys of the input, by name.
        mask: an encoded mask of the object that the image shows, zero outside; None if there is none.
        label_names: the data set's own names of its classes, by which its labels that are numbers count; empty if it
            has none.
        label_problem: why what is stored cannot be a label; empty if nothing is wrong, or nothing is stored.
    """

    id: str
    shard: str
    index: int
    data: bytes
    label: Label = None
    fields: tuple[tuple[str, str], ...] = ()
    mask: bytes | None = None
    label_names: tuple[str, ...] = ()
    label_problem: str = ""


@dataclass(frozen=True)
class Asked:
    """An image as read, with the classes to explain in place of those that the settings choose.

    Attributes:
        image: as read; what its label says is not needed then.
        targets: indices of classes, one at least.
    """

    image: Image
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Pixels:
    """A decoded image.

    Attributes:
        array: float32 `[height, width, channels]` in [0, 1].
        height: of the original.
        width: of the original.
        mask: bool `[height, width]`, True on the object that the image shows; None if unknown.
    """

    array: np.ndarray
    height: int
    width: int
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Failure:
    """An image that could not be attributed: its origin, the stage, and the reason.

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
    """How far the model's probability follows an attribution map; None if that was not measured.

    Attributes:
        insertion_auc: mean probability of the target while the image's pixels are inserted into the baseline, in
            descending order of attribution.
        deletion_auc: the same while the baseline's pixels are inserted into the image.
    """

    insertion_auc: float | None = None
    deletion_auc: float | None = None


@dataclass(frozen=True)
class Randomization:
    """Whether maps change when the weights of the model's last layer are replaced by random ones.

    Attributes:
        images: number of images attributed with both.
        similarity: rank correlation of the two maps, averaged over the images; in [-1, 1]. None without images.
        passed: whether the maps differ; None without images.
        reason: why there are no images; empty otherwise.
    """

    images: int = 0
    similarity: float | None = None
    passed: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class ReferenceMap:
    """An accurate map beside one of few steps: of the same score and baselines, by the adaptive rule.

    Attributes:
        values: float32 `[height, width, channels]`, in units of the score.
        error_estimate: estimated L1 error of `values` over its L1 norm.
        converged: whether `error_estimate` is within the tolerance.
        steps: number of gradient evaluations, over all baselines.
    """

    values: np.ndarray
    error_estimate: float
    converged: bool
    steps: int


@dataclass(frozen=True)
class Attribution:
    """The integrated gradients of one score of one image.

    Attributes:
        target: class index whose score was attributed; None if the score is that of no class.
        rank: number of classes with a higher output; 0 for the top prediction. None if nothing is ranked: of a
            regression, and of no class.
        values: float32 `[height, width, channels]`, in units of the score.
        score: F(x).
        baseline_score: F(x'), averaged over the baselines.
        convergence_delta: `sum(values) − (score − baseline_score)`.
        error_estimate: estimated L1 error of `values` over its L1 norm; None if the rule estimates none.
        converged: whether `error_estimate` is within the tolerance; None without an estimate.
        steps: number of gradient evaluations, over all baselines.
        path: stored steps of the path, float32 `[n, 3]`: alpha, score, dF/dalpha, sorted by alpha,
            averaged over baselines if these share alphas; for saturation curves.
        gradient: dF/dx at the image itself, float32 `[height, width, channels]`, if the settings request it.
        faithfulness: how far the model's probability follows `values`, if the image was chosen for it.
        second: the map by a second, independent shift of the nodes, float32 `[height, width, channels]`, if the image
            was chosen for it; its steps are not among `steps`.
        reference: an accurate map, if the image was chosen for one.
    """

    target: int | None
    rank: int | None
    values: np.ndarray
    score: float
    baseline_score: float
    convergence_delta: float
    error_estimate: float | None
    converged: bool | None
    steps: int
    path: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    gradient: np.ndarray | None = None
    faithfulness: Faithfulness = Faithfulness()
    second: np.ndarray | None = None
    reference: ReferenceMap | None = None


@dataclass(frozen=True)
class Prediction:
    """One of an image's highest-scoring classes, or one of a regression's outputs.

    Attributes:
        target: class index.
        name: of the class.
        probability: of the class; None of a regression.
        value: the output of a regression; None of others.
    """

    target: int
    name: str
    probability: float | None
    value: float | None = None


@dataclass(frozen=True)
class Explanation:
    """An image with its predictions and attributions.

    Attributes:
        image: the image as read.
        pixels: the model's input, and the original size.
        label: what the label says, if known: a class index; several, sorted; or, of a regression, a number.
        predictions: the classes of the highest probabilities, in descending order; the outputs of a regression in
            theirs; none of dense outputs.
        attributions: one for each target, in descending order of score.
        label_problem: why the image's label names no class; empty if it does, or if there is none.
        task: what the model decides, one of `vocabulary.TASKS`.
        decided: of a model of any number of labels, those whose probability is above a half, sorted.
        content: the digest of the picture, see `content.content_digest`.
        reference_extra: whether the image has a reference map only since more of its class get one than of all.
    """

    image: Image
    pixels: Pixels
    label: int | float | tuple[int, ...] | None
    predictions: tuple[Prediction, ...]
    attributions: tuple[Attribution, ...]
    label_problem: str = ""
    task: str = "classes"
    decided: tuple[int, ...] = ()
    content: str = ""
    reference_extra: bool = False


Row = dict[str, Any]
"""One stored row, by column name: the form in which attributions are written to Parquet."""
