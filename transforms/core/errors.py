"""Errors that say who can mend them; any other exception that ends a command is a fault of this project."""

from __future__ import annotations


class UsageError(ValueError):
    """An option, an input, a model, a file or a store cannot be used as it is; `str()` has a line for each problem."""


class JobError(RuntimeError):
    """A job that could run has failed; what it finished is kept."""
