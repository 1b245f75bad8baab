"""Budgets: how much work a proof may take."""

import re
import time
from dataclasses import dataclass, field
from math import inf

from commute.errors import ClaimError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LEAST = 1e-3  # seconds or bounds, with which a round is begun


@dataclass(frozen=True)
class Budget:
    """What a proof may take before it says how far it came.

    Attributes:
        seconds: of work in this process.
        bounds: of cells, and pairs evaluated one by one, together.
    """

    seconds: float = inf
    bounds: float = inf

    def __post_init__(self) -> None:
        for name, given in (("seconds", self.seconds), ("bounds", self.bounds)):
            if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
                raise ClaimError(f"a budget's {name} must be a number above 0; given {given!r}")

    @classmethod
    def of(cls, given: "Budget | str | float | None") -> "Budget":
        """The budget that a number of seconds, or a text such as "30s", "10m", "2h" or "50000 bounds", means; None is no limit.

        Raises:
            ClaimError: for anything else.
        """
        if given is None:
            return cls()
        if isinstance(given, Budget):
            return given
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return cls(seconds=given)
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|bounds)\s*", given) if isinstance(given, str) else None
        if found is None:
            raise ClaimError(f'a budget is a number of seconds, or "30s", "10m", "2h" or "50000 bounds"; given {given!r}')
        number, unit = float(found[1]), found[2]
        return cls(bounds=number) if unit == "bounds" else cls(seconds=number * _UNITS[unit])

    def __str__(self) -> str:
        parts = [f"{x:g} {name}" for name, x in (("seconds", self.seconds), ("bounds", self.bounds)) if x < inf]
        return " and ".join(parts) or "no limit"


@dataclass
class Allowance:
    """What is left of a budget, from now on.

    Attributes:
        budget: in all.
        spent: bounds, and pairs evaluated one by one, so far.
    """

    budget: Budget
    spent: int = 0
    _began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> Budget | None:
        """What is left; None where seconds or bounds are spent."""
        seconds = self.budget.seconds - (time.monotonic() - self._began)
        bounds = self.budget.bounds - self.spent
        return Budget(seconds, bounds) if min(seconds, bounds) > 0 else None

    def share(self, parts: int) -> Budget:
        """One of so many equal parts of what is left; never nothing."""
        left = self.left or Budget(_LEAST, _LEAST)
        return Budget(max(left.seconds / parts, _LEAST), max(left.bounds / parts, _LEAST))


def budget_problems(given: object) -> list[str]:
    """Say so if `given` means no budget."""
    try:
        Budget.of(given)  # type: ignore[arg-type]  # whatever a user gave
    except ClaimError as error:
        return [str(error)]
    return []
