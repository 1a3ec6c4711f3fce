"""Measurements of the job and its parts: each module is a command that prints a table."""
