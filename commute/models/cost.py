"""What a result cost, and the least that it could have cost."""

from dataclasses import dataclass
from math import isnan, nan


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of modules.

    Matrix products, convolutions and attention are counted, as torch's flop counter does. A sweep counts them on two rows and
    scales them, and leaves out the few rows by which it is traced and confirmed.

    Attributes:
        spent: by the passes that were made.
        fewest: by passes that run each distinct source up to the last site and each distinct base once (of those that are held
            together), and for each intervention only the modules that end after the first site that is set, at the positions
            from the first one that is set. NaN where it is not known what modules need.
    """

    spent: float = nan
    fewest: float = nan

    @property
    def ratio(self) -> float:
        """How many times the fewest were spent; NaN where these are not known."""
        return self.spent / self.fewest if self.fewest else 1.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.spent + other.spent, self.fewest + other.fewest)

    def __str__(self) -> str:
        times = "" if isnan(self.fewest) else f", {self.ratio:.2f} times the fewest"
        return f"{self.spent:.3g} module-FLOPs{times}"
