"""A folder served over HTTP at a loopback address, and models as TensorFlow Hub's archives in it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves the files of `folder` while the block runs; yields the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pack(model: str, archive: Path) -> None:
    """Packs a SavedModel folder as TensorFlow Hub does."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(model, ".")
