"""How far the model's probability follows a map: insertion and deletion (Petsiuk, Das and Saenko, "RISE", BMVC 2018).

Pixels are ranked by the map's sum over the channels with its sign, so that what speaks most for the target comes
first; magnitudes would put what speaks against it there too. In equal fractions of the pixels, *deletion* replaces them
by the baseline's, *insertion* puts them into the baseline. After each fraction the model is asked for the target's
probability, and the area under that curve, by trapezoids, is the number: a good map has a high insertion and a low
deletion AUC. That is Xplique's definition (`Insertion`, `Deletion`), with Integrated Gradients' own baseline.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transforms.core import stable_hash
from transforms.core.record import Faithfulness

FRACTIONS = 32
"""Two pictures each for both curves, since one begins where the other ends: whole batches, in all likelihood."""

_SEED = "faithfulness 0"


def is_chosen(image_id: str, share: float) -> bool:
    """Returns whether an image is among the `share` that is measured: by a seeded hash of its id, and nothing else."""
    return stable_hash.share(f"{_SEED}\0{image_id}") < share


def measure(
    values: np.ndarray,
    image: np.ndarray,
    baseline: np.ndarray,
    probability: Callable[[np.ndarray], np.ndarray],
    batch: int,
    fractions: int = FRACTIONS,
) -> Faithfulness:
    """Returns the insertion and deletion AUC of a map, in [0, 1]; unknown for a map of zeros, which ranks nothing.

    Args:
        values: float `[height, width, channels]`, the map.
        image: float32 `[height, width, channels]` in [0, 1].
        baseline: the same, what pixels are replaced by.
        probability: pictures `[n, height, width, channels]` → the target's probability, float `[n]`.
        batch: how many pictures are made and asked for at once.
        fractions: steps of each curve.
    """
    if not values.any():
        return Faithfulness()
    shown = _shown(values.sum(axis=2, dtype=np.float64), fractions)
    asked = [
        probability(np.where(shown[start : start + batch, :, :, None], image, baseline))
        for start in range(0, len(shown), batch)
    ]
    inserted, deleted = np.split(np.concatenate(asked).astype(np.float64), [fractions + 1])
    return Faithfulness(
        insertion_auc=float(np.trapezoid(inserted, dx=1 / fractions)),
        deletion_auc=float(np.trapezoid([inserted[-1], *deleted, inserted[0]], dx=1 / fractions)),
    )


def _shown(ranking: np.ndarray, fractions: int) -> np.ndarray:
    """Returns which pixels show the image, bool `[2 · fractions, height, width]`: insertion, deletion without ends.

    Pixels of equal rank come in reading order.
    """
    ranks = np.empty(ranking.size, np.int64)
    ranks[np.argsort(-ranking, axis=None, kind="stable")] = np.arange(ranking.size)
    counts = np.arange(fractions + 1) * ranking.size // fractions
    inserted = ranks.reshape(ranking.shape) < counts[:, None, None]
    return np.concatenate([inserted, ~inserted[1:-1]])
