"""Events: what work says while it goes on. Terminals, logs and reports consume them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class SearchStarted:
    """A search, or a rung of it, begins; `items` are to be fitted."""

    items: int
    control: str | None  # the control that the search serves, or None for the claim's own


@dataclass(frozen=True)
class ItemFitted:
    """A candidate is ready; `iia` is its worst slice on the selection pairs."""

    item: str
    iia: float
    control: str | None


@dataclass(frozen=True)
class SiteSkipped:
    """A site, or an item there, is of no use to the search, for the reason given."""

    site: str
    reason: str
    control: str | None


@dataclass(frozen=True)
class VerificationStarted:
    """Fresh pairs are drawn, `pairs` in all."""

    pairs: int


@dataclass(frozen=True)
class SetVerified:
    """The interchanges of one set of variables are done; `iia` is over all its pairs."""

    variables: tuple[str, ...]
    iia: float


@dataclass(frozen=True)
class ControlMeasured:
    """A control reached `iia` at most, over the variables."""

    control: str
    iia: float


@dataclass(frozen=True)
class ProofAdvanced:
    """A proof about a set of variables went on: IIA over every pair lies between `lower` and `upper`."""

    variables: tuple[str, ...]
    lower: float
    upper: float
    bounds: int
    evaluated: int


@dataclass(frozen=True)
class Decided:
    """The verdict is there."""

    status: str


Event = SearchStarted | ItemFitted | SiteSkipped | VerificationStarted | SetVerified | ControlMeasured | ProofAdvanced | Decided
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing with an event."""
    del event
