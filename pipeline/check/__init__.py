"""The command `check`: what a run would find and cost, within seconds, and what is likely wrong with its options.

In reading order: `report` (what was found), `labels` (whether they name classes), `examine` (finds it, with
`pipeline.cost`), `page` (shows it), `command`. Writes no file; may fill the caches of models.
"""
