"""What a run may cost, as `--budget` gives it: gradient evaluations, or hours, minutes or seconds of one worker."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

_SECONDS = {"h": 3600, "m": 60, "s": 1}
_TEXT = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)(?P<unit>[hms]?)", re.ASCII)

Unit = Literal["gradients", "seconds"]


@dataclass(frozen=True)
class Budget:
    """What a run may cost.

    Attributes:
        amount: above 0.
        unit: of the amount.
    """

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Returns the budget that an option names.

        >>> Budget.parse("1.5h"), Budget.parse("100000")
        (Budget(amount=5400.0, unit='seconds'), Budget(amount=100000.0, unit='gradients'))

        Raises:
            ValueError: it names none.
        """
        found = _TEXT.fullmatch(text)
        amount = float(found["number"]) * _SECONDS.get(found["unit"], 1) if found else math.nan
        is_whole = found is not None and (bool(found["unit"]) or found["number"].isdecimal())
        if found is None or not is_whole or not amount > 0:
            raise ValueError(
                f"budget: {text!r} is not a number of gradient evaluations, such as 100000, or a time above 0 such as "
                "2h, 90m or 3600s"
            )
        return cls(amount, "seconds" if found["unit"] else "gradients")

    def __str__(self) -> str:
        if self.unit == "gradients":
            return f"{self.amount:,.0f} gradients"
        return f"{self.amount / 3600:,.3g} hours" if self.amount >= 3600 else f"{self.amount:,.4g} seconds"
