"""StoredCache: what was learned of models in an object store, where workers without a disk of their own find it."""

from __future__ import annotations

import contextlib

from transforms import storage
from transforms.core.model.entry_file import DamagedError, pack, unpack
from transforms.core.model.model_cache import MOST_BYTES, Entry


class StoredCache:
    """A cache below a URI. Who can write there is for the store to say, as is what is removed when."""

    def __init__(self, uri: str) -> None:
        """Takes the URI of a folder, which need not exist."""
        self._uri = uri

    def read(self, name: str) -> Entry:
        """Returns what lies under a name; raises nothing."""
        try:
            return Entry(unpack(storage.read_bytes(storage.join(self._uri, name), MOST_BYTES)))
        except FileNotFoundError:
            return Entry({})
        except (OSError, DamagedError) as error:
            return Entry({}, str(error))

    def write(self, name: str, members: dict[str, bytes]) -> str:
        """Replaces what lies under a name, at once; returns why that cannot be done, if it cannot."""
        content = pack(members)
        if len(content) > MOST_BYTES:
            return f"it would take {len(content) >> 20:,} MiB"
        try:
            storage.write_bytes(storage.join(self._uri, name), content)
        except OSError as error:
            return str(error)
        return ""

    def discard(self, name: str) -> None:
        """Removes what lies under a name, if that can be done."""
        with contextlib.suppress(OSError):
            storage.delete(storage.join(self._uri, name))
