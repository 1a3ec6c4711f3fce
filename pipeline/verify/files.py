"""What is wrong with a file: findings, and the checks of a file and of a part's footer against a manifest."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from transforms.store.files import StoredFile, describe_file
from transforms.store.parts import PartFooter, PartSummary

UNREADABLE = (OSError, ValueError, KeyError, AttributeError, pa.ArrowException)
"""What reading a damaged or forged file raises."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        file: its name relative to the run directory.
        problem: what is wrong with it.
    """

    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


def check_file(uri: str, file: StoredFile) -> list[Finding]:
    """Returns whether a file, as a manifest in the folder `uri` describes it, is missing or was changed."""
    try:
        found = describe_file(uri, file.name)
    except FileNotFoundError:
        return [Finding(file.name, "is missing")]
    if found == file:
        return []
    return [Finding(file.name, f"was changed: its sha256 is {found.sha256}, the manifest says {file.sha256}")]


def check_footer(part: PartSummary, footer: PartFooter, config_digest: str, model_digest: str) -> list[Finding]:
    """Returns in what a part's footer differs from its description in a manifest."""
    pairs = {
        "chunk": (footer.chunk.id, part.chunk),
        "config_digest": (footer.provenance.config_digest, config_digest),
        "model_digest": (footer.provenance.model_digest, model_digest),
        "images": (footer.images, part.images),
        "rows": (footer.rows, part.rows),
        "failures": (footer.failures, part.failures),
        "untargeted": (footer.untargeted, part.untargeted),
        "unsampled": (footer.unsampled, part.unsampled),
        "labels": (footer.labels, part.labels),
    }
    return [
        Finding(part.attributions.name, f"its {what} is {found}, the manifest says {expected}")
        for what, (found, expected) in pairs.items()
        if found != expected
    ]
