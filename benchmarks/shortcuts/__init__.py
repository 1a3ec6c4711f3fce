"""Real shortcuts that small networks learned from CIFAR-10, and how well nights that show them are told.

In reading order: `plants` (what is put into pictures), `networks` (who was trained with what), `rows` (their
attributions, kept), `nights` (drawn from these), `trials` (outcomes and the table), `ours` and `peers` (who judges).
"""
