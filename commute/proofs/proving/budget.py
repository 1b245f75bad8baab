"""Budgets: how much work a proof may take."""

import re
from dataclasses import dataclass
from math import inf

from commute.errors import ClaimError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


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


def budget_problems(given: object) -> list[str]:
    """Say so if `given` means no budget."""
    try:
        Budget.of(given)  # type: ignore[arg-type]  # whatever a user gave
    except ClaimError as error:
        return [str(error)]
    return []
