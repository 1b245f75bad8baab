"""What each item of a battery costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from commute.models.flops import Flops
from commute.proofs.shown import ItemCost


@dataclass(frozen=True)
class Meter:
    """Module-FLOPs by item."""

    spent: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, item: str) -> Iterator[None]:
        """Count what is done here for an item."""
        with Flops() as counter:
            yield
        self.add(item, counter.total)

    def add(self, item: str, flops: float) -> None:
        """Count what was counted elsewhere."""
        self.spent[item] = self.spent.get(item, 0) + int(flops)

    @property
    def costs(self) -> tuple[ItemCost, ...]:
        """What was counted, in the order in which items were first met."""
        return tuple(ItemCost(item, flops) for item, flops in self.spent.items())
