"""Errors whose cause lies outside this project; any other exception that ends a command is a fault of ig-audit."""

from __future__ import annotations


class UsageError(ValueError):
    """An option, an input, a model, a file or a store cannot be used; `str()` has a line for each problem."""


class JobError(RuntimeError):
    """A job failed while it ran; its finished parts are kept."""
