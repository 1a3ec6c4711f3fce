"""What it means that a storage does not answer as it should: does it last, or may it pass, and be asked again?"""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

T = TypeVar("T")

_WAITS = (1.0, 4.0)  # seconds before a storage is asked again,
_PATIENCE_SECONDS = 60.0  # unless it has taken longer: Arrow's clients of the clouds' stores try again by themselves
_LASTING = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT)
_LASTING_WORDS = re.compile(
    r"AWS Error (ACCESS_DENIED|NO_SUCH_KEY|NO_SUCH_BUCKET|RESOURCE_NOT_FOUND|INVALID_OBJECT_STATE) "
    r"|AWS Error UNKNOWN \(HTTP status (403|404|405|410|451)\)"
)
_NO_CREDENTIALS = "google::cloud::Status(UNAUTHENTICATED"  # which Arrow turns into a PermissionError


class StorageError(OSError):
    """The storage does not give what it was asked for; `str()` names the URI and the storage's reason."""


class RefusedError(StorageError):
    """It will not give it next time either: reading is not permitted, or no file can be there."""


class UnavailableError(StorageError):
    """It could not for a while: a lost connection, a server that fails or is busy, credentials that ran out."""


def is_passing(error: Exception) -> bool:
    """Returns whether what the storage answered may change without anyone doing something about this very file.

    Only what is known to last does not pass: no such file, no permission. All else might be true of any file (lost
    connections, timeouts, statuses 5xx and 429, expired credentials, errors of a disk), so that a job should better
    end and be resumed than go on without the file.

    Args:
        error: of Python, or of one of Arrow's file systems, of which that of S3 says it in words only.
    """
    if isinstance(error, StorageError):
        return isinstance(error, UnavailableError)
    number = getattr(error, "errno", None)
    if number is None:
        return not _LASTING_WORDS.search(str(error))
    return number not in _LASTING or _NO_CREDENTIALS in str(error)


def ask(uri: str, question: Callable[[], T]) -> T:
    """Returns what the storage that holds `uri` answers; asks again if an error may pass.

    Raises:
        FileNotFoundError: there is no such file.
        RefusedError: the storage refuses it.
        UnavailableError: the storage failed each time.
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
