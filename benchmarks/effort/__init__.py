"""What an audit of few steps is worth beside one of converged maps, by rows that have both.

In reading order: `rows` (pictures attributed both ways), `coverage` (whether intervals hold), `verdicts` (whether the
same nights raise alarms).
"""
