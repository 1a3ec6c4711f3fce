"""Real shortcuts that small networks learned from CIFAR-10, and how well nights that show them are told.

In reading order: `plants` (what is put into pictures), `networks` (who was trained with what), `rows` (their
attributions, kept), `prepare` (makes both), `nights` (drawn from these), `trials` (outcomes and the table), `ours`,
`tails` and `peers` (who judges); apart from these, `findings` and `spray` (without a reference) and `power` (is what
an audit says to notice noticed?).
"""
