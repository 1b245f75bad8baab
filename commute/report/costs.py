"""What each item of a battery cost, beside the plain IIA."""

from collections.abc import Sequence

from commute.proofs.shown import ItemCost

_PLAIN = "interchange"  # the item of a battery that is the IIA of every set of variables
_SEARCH = ": search"  # how the items end that are a control's search


def cost_rows(costs: Sequence[ItemCost]) -> list[tuple[str, int, float | None]]:
    """Each item and all together: module-FLOPs, and how many times those of the plain IIA they are if that was measured.

    Where controls repeated a search, all together without the searches comes before all together.
    """
    plain = sum(c.flops for c in costs if c.item == _PLAIN)
    everything = [(c.item, c.flops) for c in costs]
    measured = [c for c in costs if not c.item.endswith(_SEARCH)]
    if len(measured) < len(costs):
        everything.append(("all but searches", sum(c.flops for c in measured)))
    everything.append(("all together", sum(c.flops for c in costs)))
    return [(item, flops, flops / plain if plain else None) for item, flops in everything]
