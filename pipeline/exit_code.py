"""Exit codes, and the report of an error that ends a command."""

from __future__ import annotations

import enum
import os
import re
import sys
import traceback

from transforms.core.errors import JobError, UsageError
from transforms.storage_errors import UnavailableError
from transforms.text import printable


class ExitCode(enum.IntEnum):
    """How a command ended. If several apply, the first of FAILED, UNUSABLE, TOO_MANY_ERRORS and DRIFT is returned."""

    FINE = 0
    FAILED = 1
    """The job failed, or there is a fault in ig-audit; `verify`: the run does not match its manifest."""
    UNUSABLE = 2
    """Options, an input, a model, a file or a store cannot be used: the user can correct that."""
    DRIFT = 3
    """The run differs from its reference, and at least one of the differences is an alarm."""
    TOO_MANY_ERRORS = 4
    """The share of failed images exceeds `max_error_rate`."""

    @classmethod
    def first(cls, *codes: ExitCode) -> ExitCode:
        """Returns the code that takes precedence over the others; FINE if there is none.

        >>> ExitCode.first(ExitCode.DRIFT, ExitCode.TOO_MANY_ERRORS, ExitCode.FINE)
        <ExitCode.TOO_MANY_ERRORS: 4>
        """
        return min(codes, key=_PRECEDENCE.index, default=cls.FINE)


_AWAY = re.compile(
    "NETWORK_CONNECTION|SERVICE_UNAVAILABLE|SLOW_DOWN|INTERNAL_FAILURE|UNAVAILABLE|[Tt]imed? ?out|curlCode"
)
"""Texts of temporary errors that Arrow's file systems raise as an OSError without a number."""

_PRECEDENCE = (
    ExitCode.FAILED,
    ExitCode.UNUSABLE,
    ExitCode.TOO_MANY_ERRORS,
    ExitCode.DRIFT,
    ExitCode.FINE,
)


def report_error(error: Exception) -> ExitCode:
    """Prints the error that ended a command, or a part of it, to standard error; returns its exit code.

    No traceback is printed unless IG_AUDIT_DEBUG is set.
    """
    if os.environ.get("IG_AUDIT_DEBUG"):
        traceback.print_exception(error)
    text = str(error) or type(error).__name__
    code = ExitCode.FAILED
    if isinstance(error, UsageError) or (isinstance(error, OSError) and not _passes(error)):
        code = ExitCode.UNUSABLE
    elif not isinstance(error, JobError | OSError):
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        text = f"a fault of ig-audit: {what}\nIG_AUDIT_DEBUG=1 shows where; please report it"
    for line in text.splitlines():
        print(f"ig-audit: {printable(line)}", file=sys.stderr)
    return code


def _passes(error: OSError) -> bool:
    """Returns whether the error is temporary, so that the same command may succeed later: a store does not answer."""
    return isinstance(error, ConnectionError | TimeoutError | UnavailableError) or bool(_AWAY.search(str(error)))
