"""Object stores for tests: each a server on loopback that the test starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

import pytest

from support.stores import S3, GoogleStorage, google_storage_program
from transforms import storage

KINDS = ["s3", pytest.param("gs", marks=pytest.mark.distributed)]


@contextlib.contextmanager
def serve(kind: str) -> Iterator[S3 | GoogleStorage]:
    """Starts the server of a kind of `KINDS`; while the block runs, this process and its children find it."""
    try:
        store = S3() if kind == "s3" else GoogleStorage(google_storage_program())
    except FileNotFoundError as reason:
        pytest.skip(str(reason))
    storage._connect.cache_clear()
    with contextlib.closing(store), mock.patch.dict(os.environ, store.environment):
        yield store
    storage._connect.cache_clear()
