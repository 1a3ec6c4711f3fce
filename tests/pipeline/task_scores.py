"""Scores of dense outputs, named by the tests as a user's would be."""

from __future__ import annotations

from transforms import operators

second_class = operators.mean_logit_over_mask(1)
upper_box = operators.box_score(0, (0.0, 0.0, 0.5, 1.0))
