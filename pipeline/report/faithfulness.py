"""Whether the maps can be believed, in words: insertion and deletion of chosen images, and the randomized model."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import words
from transforms.core.record import Randomization
from transforms.store.run import Run

_EARLIER = "the run was made before ig-audit measured it."


@dataclass(frozen=True)
class Faithfulness:
    """What the page says of it.

    Attributes:
        sample: of insertion and deletion, a sentence or two.
        check: of the randomized model, likewise.
        passed: whether maps depend on the model; None where that was not checked.
    """

    sample: str
    check: str
    passed: bool | None


def read_faithfulness(run: Run) -> Faithfulness:
    """Returns what a finished run says about its maps' faithfulness.

    Raises:
        OSError: the statistics are missing or damaged.
    """
    check = run.manifest.randomisation
    return Faithfulness(_sample(run), _check(check), check.passed if check else None)


def _sample(run: Run) -> str:
    manifest = run.manifest
    share = manifest.provenance.config.get("faithfulness")
    if "insertion_auc" not in run.scalars:
        return f"Not measured: {_EARLIER}"
    if manifest.task in ("values", "dense"):
        return "Not measured: the model has no probabilities, whose change insertion and deletion measure."
    if share == 0:
        return "Not measured: switched off by --faithfulness 0."
    rows = run.statistics(["count_insertion_auc"], kind="all").to_pylist()
    measured = rows[0]["count_insertion_auc"] if rows else 0
    chosen = f"the {100 * share:g}% that a hash of the ids chooses" if share else "those that a hash of the ids chooses"
    if not measured:
        return f"Not measured: none of the {manifest.images:,} images is among {chosen}."
    return f"Measured on {measured:,} of {manifest.rows:,} rows: the images are among {chosen}."


def _check(check: Randomization | None) -> str:
    if check is None:
        return f"Not checked: {_EARLIER}"
    if check.passed is None:
        return f"Not checked: {words.plain(check.reason, 300)}."
    pictures = f"{check.images} picture{'' if check.images == 1 else 's'}"
    change = "change" if check.passed else "hardly change, so that they may show the pictures rather than the model"
    return (
        f"With random weights in the model's last layer, maps {change}: the rank correlation of the signed maps "
        f"is {words.number(check.similarity)} over {pictures}, where 1 is no change."
    )
