"""The report: a finished run, and how it differs from a reference, as one HTML file that needs nothing else.

In reading order: `content` (what the page says), gathered by `maps` (mean maps, slice by slice), `cards` and `gallery`
(pictures, and how they are found), `distributions`, `faithfulness` and `failures`; `page` (its HTML); shared by these:
`words` (as people read them, made harmless), `figures` (pictures), `charts`. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import json

from pipeline.report.content import gather
from pipeline.report.distributions import Audit
from pipeline.report.page import render
from transforms import storage
from transforms.core.errors import UsageError

AUDIT, REPORT = "audit.json", "report.html"


def write_report(run_uri: str, output: str | None = None, audit: Audit | None = None) -> str:
    """Writes the report of a finished run; returns where it is.

    Args:
        run_uri: the run directory.
        output: path or URI of the page; by default `report.html` in the run directory.
        audit: what the run was compared with; by default its own audit.json, if it has one.

    Raises:
        FileNotFoundError: there is no finished run at `run_uri`.
        OSError: a part is missing or damaged.
        ValueError: the manifest or the audit can't be read.
    """
    audit = audit or _stored_audit(run_uri)
    uri = output or storage.join(run_uri, REPORT)
    storage.write_bytes(uri, render(gather(run_uri, audit)).encode())
    return uri


def _stored_audit(run_uri: str) -> Audit | None:
    uri = storage.join(run_uri, AUDIT)
    if storage.size(uri) is None:
        return None
    try:
        return json.loads(storage.read_bytes(uri))
    except ValueError as error:
        raise UsageError(f"{uri}: not JSON: {error}") from error
