"""A storage that fails on demand, for tests of what reads from it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from transforms import storage, storage_errors


def fail(
    monkeypatch: pytest.MonkeyPatch, part: str, error: Exception, spare: int = 0, times: int | None = None
) -> list[str]:
    """Answers with `error` whatever is asked of a URI that holds `part`, after sparing some questions, `times` times.

    Returns the URIs of all questions that failed, to which each adds its own. None is waited for.
    """
    real, numbers, failed = storage_errors.ask, itertools.count(), []

    def ask(uri: str, question: Callable[[], Any]) -> Any:
        def disturbed() -> Any:
            if part in uri and spare <= next(numbers) < (spare + times if times is not None else float("inf")):
                failed.append(uri)
                raise error
            return question()

        return real(uri, disturbed)

    monkeypatch.setattr(storage, "ask", ask)
    monkeypatch.setattr(storage_errors, "_WAITS", (0.0, 0.0))
    return failed
