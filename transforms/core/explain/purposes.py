"""What maps a picture gets beside its own: chosen by its content, so that every run and model chooses the same.

    map         by the rule of the settings, for every picture
    second      the same by a second, independent shift of the nodes: how much of a row's spread is the quadrature's
    reference   by the adaptive rule to tolerance: how far what is not linear in the map is off at few steps

The paths of all of them share the batches of one compiled step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from transforms.core.explain.content import FIRST_MAP, REFERENCE, SECOND, SECOND_MAP, is_chosen, shift_of
from transforms.core.explain.label import Resolved
from transforms.core.explain.settings import Settings
from transforms.core.path.rule import PathRule

Purpose = Literal["map", "second", "reference"]


@dataclass(frozen=True)
class Sampling:
    """How a path is sampled: by its shift, and by a rule of its own if it has one."""

    shift: float
    rule: PathRule | None = None


@dataclass(frozen=True)
class Purposes:
    """Which pictures get which maps.

    Attributes:
        second_share: share of the pictures that get a second map.
        reference_share: share of those that get reference maps, but for the classes of `by_class`.
        by_class: that share by the class that a picture's label names.
        reference_rule: the rule of reference maps; None if there are none.
    """

    second_share: float
    reference_share: float
    by_class: Mapping[int, float]
    reference_rule: PathRule | None

    @classmethod
    def of(cls, settings: Settings, reference_shares: Iterable[tuple[int, float]] = ()) -> Purposes:
        """Returns what the settings choose; classes among `reference_shares` have more than others.

        Raises:
            ValueError: a share is not in [0, 1].
        """
        by_class = dict(reference_shares)
        for label, share in by_class.items():
            if not 0 <= share <= 1:
                raise ValueError(f"reference_shares: {share} of class {label} is not a number from 0 to 1")
        second_share = settings.second_share if settings.rule == "shifted" else 0.0
        return cls(second_share, settings.reference_share, by_class, settings.reference_rule())

    def chosen(self, content: str, label: Resolved) -> tuple[Purpose, ...]:
        """Returns the purposes of a picture's maps.

        Args:
            content: the picture's digest.
            label: what its label says.
        """
        second: tuple[Purpose, ...] = ("second",) if is_chosen(content, SECOND, self.second_share) else ()
        share = self.share_of(label)
        reference: tuple[Purpose, ...] = ("reference",) if is_chosen(content, REFERENCE, share) else ()
        return ("map", *second, *reference)

    def share_of(self, label: Resolved) -> float:
        """Returns the share of the pictures with a label that get reference maps; of several labels, the highest."""
        if self.reference_rule is None:
            return 0.0
        labels = label if isinstance(label, tuple) else (label,)
        shares = [self.by_class[each] for each in labels if isinstance(each, int) and each in self.by_class]
        return max([self.reference_share, *shares])

    def is_extra(self, content: str, label: Resolved) -> bool:
        """Returns whether a picture has reference maps only since more of its class get them than of all."""
        alike = is_chosen(content, REFERENCE, self.reference_share)
        return not alike and is_chosen(content, REFERENCE, self.share_of(label))

    def sampling(self, purpose: Purpose, content: str, baseline: int) -> Sampling:
        """Returns how the path from a baseline, by its number among all, is sampled for a purpose."""
        shift = shift_of(content, baseline, SECOND_MAP if purpose == "second" else FIRST_MAP)
        return Sampling(shift, self.reference_rule if purpose == "reference" else None)
