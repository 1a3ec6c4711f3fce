"""The report: a finished run, and how it differs from a reference, as one HTML file that needs nothing else.

In reading order: `content` (what the page says), gathered by `findings` (what stands out in the run), `maps` (mean
maps, slice by slice), `cards` and `gallery` (pictures, and how they are found), `distributions`, `faithfulness` and
`failures`; `page` (its HTML); shared by these: `words` (as people read them, made harmless), `figures` (pictures),
`charts`. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

from pipeline.report.content import gather
from pipeline.report.distributions import Audit
from pipeline.report.page import render
from transforms import storage
from transforms.store.run import Run

REPORT = "report.html"


def write_report(run: Run, output: str | None = None, audit: Audit | None = None) -> str:
    """Writes the report of a finished run; returns where it is.

    Args:
        run: what is reported.
        output: path or URI of the page; by default `report.html` in the run directory.
        audit: what was found in the run and in comparing it; by default its own audit.json, if it has one.

    Raises:
        FileNotFoundError: the run is unfinished, or there is none.
        OSError: a part is missing or damaged.
        ValueError: the manifest or the audit cannot be read.
    """
    uri = output or run.uri_of(REPORT)
    storage.write_bytes(uri, render(gather(run, audit or run.audit)).encode())
    return uri
