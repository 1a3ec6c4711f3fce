"""Errors of a storage: permanent ones, and temporary ones, after which the request is repeated."""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

T = TypeVar("T")

_WAITS = (1.0, 4.0)  # seconds before a request is repeated,
_PATIENCE_SECONDS = 60.0  # unless it has taken longer: Arrow's clients of the clouds' stores retry by themselves
_LASTING = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT)
_LASTING_WORDS = re.compile(
    r"AWS Error (ACCESS_DENIED|NO_SUCH_KEY|NO_SUCH_BUCKET|RESOURCE_NOT_FOUND|INVALID_OBJECT_STATE) "
    r"|AWS Error UNKNOWN \(HTTP status (403|404|405|410|451)\)"
)
_NO_CREDENTIALS = "google::cloud::Status(UNAUTHENTICATED"  # which Arrow turns into a PermissionError


class StorageError(OSError):
    """A request to the storage failed; `str()` names the URI and the storage's reason."""


class RefusedError(StorageError):
    """The failure is permanent: reading is not permitted, or there cannot be such a file."""


class UnavailableError(StorageError):
    """The failure is temporary: a lost connection, a server that fails or is busy, expired credentials."""


def is_passing(error: Exception) -> bool:
    """Returns whether a storage error may disappear without anyone changing this particular file.

    Only errors known to be permanent do not: no such file, no permission. All others could occur for any file (lost
    connections, timeouts, statuses 5xx and 429, expired credentials, disk errors), so that it is better for a job to
    end and be resumed than to continue without the file.

    Args:
        error: of Python, or of one of Arrow's file systems; that of S3 gives the reason only in its text.
    """
    if isinstance(error, StorageError):
        return isinstance(error, UnavailableError)
    number = getattr(error, "errno", None)
    if number is None:
        return not _LASTING_WORDS.search(str(error))
    return number not in _LASTING or _NO_CREDENTIALS in str(error)


def ask(uri: str, question: Callable[[], T]) -> T:
    """Returns the result of `question`, a request to the storage of `uri`; repeats it after a temporary error.

    Raises:
        FileNotFoundError: there is no such file.
        RefusedError: the storage refuses the request.
        UnavailableError: every attempt failed.
    """
    waits, start = list(_WAITS), time.monotonic()
    while True:
        try:
            return question()
        except (FileNotFoundError, StorageError):
            raise
        except (OSError, pa.ArrowException) as error:
            message = f"{uri}: cannot be read ({error})"
            if not is_passing(error):
                raise RefusedError(message) from error
            if not waits or time.monotonic() - start > _PATIENCE_SECONDS:
                raise UnavailableError(message) from error
        time.sleep(waits.pop(0) * random.uniform(0.5, 1.0))  # not all workers at the same moment
