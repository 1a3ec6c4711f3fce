"""The run directory: what is stored, where, and how it is read back.

In reading order: `schema` (columns and file metadata), `files` (whole files with their digests), `parts` (one
atomic pair of files per chunk), `tables` (the statistics), `manifest` (written last), `lock` (one run at a
time), `strays` (what killed processes left), `lookup` (one image's rows), `sample` (rows to compare). Imports neither
Beam nor TensorFlow.
"""

from transforms.store.files import StoredFile
from transforms.store.lookup import find_rows
from transforms.store.manifest import (
    Manifest,
    any_provenance,
    holds_manifest,
    holds_run,
    read_manifest,
    write_manifest,
)
from transforms.store.parts import (
    PartSummary,
    PartWriter,
    finished_part,
    first_provenance,
    first_rows,
    read_footer,
    read_rows,
    write_part,
)
from transforms.store.schema import Provenance
from transforms.store.strays import delete_strays
from transforms.store.tables import read_statistics, write_statistics

__all__ = [
    "Manifest",
    "PartSummary",
    "PartWriter",
    "Provenance",
    "StoredFile",
    "any_provenance",
    "delete_strays",
    "find_rows",
    "finished_part",
    "first_provenance",
    "first_rows",
    "holds_manifest",
    "holds_run",
    "read_footer",
    "read_manifest",
    "read_rows",
    "read_statistics",
    "write_manifest",
    "write_part",
    "write_statistics",
]
