"""Thresholds: what counts as a change, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transforms.core.drift.contrast import TOPICS
from transforms.core.drift.tails import TailLimits

ALARMS = ("model", "attention", "score", "convergence", "mix", "config", "errors")
"""The topics of reasons that may raise an alarm."""

_SHARES = ("false_discovery_rate", "mix_distance", "mix_p_value", "error_rate", "tail_p_value", "tail_share")
_COUNTS = {
    "tail_pictures": 1,
    "min_rows": 4,
    "min_class_rows": 2,
    "sample_rows": 4,
    "splits": 100,
    "max_slices": 1,
    "seed": 0,
}


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What a run is judged by; the packaged YAML file has the defaults and says why.

    Attributes:
        min_rows: rows that a slice must have on either side to be compared.
        min_class_rows: the same for a class within a slice.
        sample_rows: most rows of a slice that are taken of a run, and that are split into halves.
        max_slices: most slices that are compared, the largest first.
        splits: how often the reference is split into halves that are compared with each other.
        seed: of these splits.
        false_discovery_rate: expected share of false ones among the changes found.
        mix_distance: total variation of the class mix that must be exceeded.
        mix_p_value: significance of a change of the class mix.
        error_rate: by how much the share of failing images may rise.
        tail_p_value: significance of pictures that look where the reference's hardly ever do, of all tails together.
        tail_pictures: fewest such pictures that are a change.
        tail_share: least share of a class's pictures that are, beyond what is usual.
        tail_ratio: how many times as many as is usual.
        alarms: topics whose changes raise an alarm.
        effects: the effect that a change of a metric must exceed; None leaves the metric out.
    """

    min_rows: int
    min_class_rows: int
    sample_rows: int
    max_slices: int
    splits: int
    seed: int
    false_discovery_rate: float
    mix_distance: float
    mix_p_value: float
    error_rate: float
    tail_p_value: float
    tail_pictures: int
    tail_share: float
    tail_ratio: float
    alarms: tuple[str, ...]
    effects: Mapping[str, float | None]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are compared."""
        return tuple(name for name in TOPICS if self.effects[name] is not None)

    @property
    def tails(self) -> TailLimits:
        """When pictures in a tail are a change."""
        return TailLimits(self.tail_p_value, self.tail_pictures, self.tail_share, self.tail_ratio)

    def problems(self) -> list[str]:
        """Returns what is wrong with the thresholds, one line each; empty where nothing is."""
        found = []
        for name, low in _COUNTS.items():
            if not _is_number(getattr(self, name), int) or getattr(self, name) < low:
                found.append(f"{name}: {getattr(self, name)!r} is not a whole number of at least {low}")
        for name in _SHARES:
            if not _is_number(getattr(self, name), int, float) or not 0 <= getattr(self, name) <= 1:
                found.append(f"{name}: {getattr(self, name)!r} is not a number from 0 to 1")
        if not _is_number(self.tail_ratio, int, float) or not 1 <= self.tail_ratio < float("inf"):
            found.append(f"tail_ratio: {self.tail_ratio!r} is not a number of at least 1")
        unknown = sorted(set(self.alarms) - set(ALARMS))
        found += [f"alarms: {name!r} is not one of {', '.join(ALARMS)}" for name in unknown]
        for name, effect in self.effects.items():
            if name not in TOPICS:
                found.append(f"effects: {name!r} is not one of {', '.join(TOPICS)}")
            elif effect is not None and not (_is_number(effect, int, float) and 0 <= effect < float("inf")):
                found.append(f"effects: {name}: {effect!r} is not a number of at least 0, nor null")
        found += [f"effects: {name} is missing" for name in TOPICS if name not in self.effects]
        return found or self._unreachable()

    def _unreachable(self) -> list[str]:
        """Returns what keeps a single change from ever being significant: too few splits."""
        needed = len(self.metrics) / max(self.false_discovery_rate, 1e-9)
        if self.splits >= needed:
            return []
        return [
            f"splits: {self.splits} are too few for a false_discovery_rate of {self.false_discovery_rate:g} "
            f"over {len(self.metrics)} metrics; it takes {needed:.0f}"
        ]


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
