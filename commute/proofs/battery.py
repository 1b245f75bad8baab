"""The battery: everything that can be measured of a claim, by name, and which of it a verdict needs."""

from collections.abc import Sequence
from typing import Literal, get_args

from commute.errors import unknown

Item = Literal[
    "no intervention",
    "interchange",
    "read-out",
    "remainder exchanged",
    "distinctions",
    "random subspace",
    "re-initialised network",
    "permuted algorithm",
    "shuffled sources",
    "remainder only",
    "null space",
    "divergence",
    "rivals",
    "stability",
    "counterexample search",
    "proof",
]
ITEMS: tuple[Item, ...] = get_args(Item)
Named = Literal["quick", "standard", "thorough"]
Battery = Named | Sequence[Item]

# Without one of these no claim holds; all but the controls are on fresh pairs of the claim.
SAMPLED: tuple[Item, ...] = ("no intervention", "interchange", "read-out", "remainder exchanged")
DECIDING: tuple[Item, ...] = (*SAMPLED, "distinctions", "random subspace", "re-initialised network", "permuted algorithm")
BATTERIES: dict[Named, tuple[Item, ...]] = {
    "quick": SAMPLED,
    "standard": tuple(i for i in ITEMS if i not in ("stability", "counterexample search", "proof")),
    "thorough": tuple(i for i in ITEMS if i != "proof"),  # how far a proof comes is a matter of the machine
}


def items_of(battery: Battery) -> tuple[Item, ...]:
    """The items of a battery, each once, in the order in which they are measured."""
    named = BATTERIES[battery] if isinstance(battery, str) else battery
    return tuple(item for item in ITEMS if item in named)


def battery_problems(battery: object) -> list[str]:
    """Say so if `battery` is neither the name of one nor a list of items."""
    if isinstance(battery, str):
        return [] if battery in BATTERIES else [unknown("battery", battery, BATTERIES)]
    if not isinstance(battery, Sequence) or not battery:
        return [f"battery is one of {', '.join(BATTERIES)}, or a list of items; given {battery!r}"]
    problems = [unknown("item of the battery", item, ITEMS) for item in battery if item not in ITEMS]
    return problems if "interchange" in battery else [*problems, "a battery needs the item 'interchange'"]
