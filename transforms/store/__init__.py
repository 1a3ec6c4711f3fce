"""The run directory: what is stored, where, and how it is read back.

In reading order: `schema` (columns and file metadata), `rows` (an explanation as rows), `files` (whole files with
their digests), `labels` (how many can be used), `parts` (one atomic pair of files per chunk), `tables` (the
statistics), `manifest` (written last), `lock` (one run at a time), `strays` (what killed processes left); then what
reads: `lookup` (one image's rows), `placed` (all rows by slice, as arrays), `sample` (rows to compare), all free of
files, `refined` (maps that were added later, with a manifest of their own), and `run`, the handle of a run that
everything after the job takes; last, `tails` (rows in the tails of their classes) and `matched` (pictures that come
again in other runs).
Imports neither Beam nor TensorFlow.
"""

from transforms.store.files import StoredFile
from transforms.store.labels import LabelCounts
from transforms.store.manifest import Manifest, write_manifest
from transforms.store.parts import PartSummary, PartWriter, finished_part, write_part
from transforms.store.run import Run
from transforms.store.schema import Provenance
from transforms.store.strays import delete_strays
from transforms.store.tables import write_statistics

__all__ = [
    "LabelCounts",
    "Manifest",
    "PartSummary",
    "PartWriter",
    "Provenance",
    "Run",
    "StoredFile",
    "delete_strays",
    "finished_part",
    "write_manifest",
    "write_part",
    "write_statistics",
]
