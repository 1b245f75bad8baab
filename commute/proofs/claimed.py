"""What is claimed, as everything that is measured of it needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from commute.alignments.alignment import Alignment
from commute.alignments.drawing import Unseen
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.meter import Meter
from commute.runs.events import OnEvent

if TYPE_CHECKING:
    from commute.proofs.diagnostics.rivals import Rival


@dataclass(frozen=True)
class Claimed:
    """A claim about a network, and how it is judged.

    Attributes:
        algorithm: what the network is said to run.
        network: the network.
        alignment: where its variables are.
        fresh: draws pairs that the search for the alignment did not see.
        n: pairs for each variable.
        seed: of every random stream.
        at_least: the IIA claimed.
        confidence: of each bound that is not one of many at once.
        on_event: is told of progress.
        runs: a folder in which items of searches are kept.
        rivals: other algorithms that the network might run, by name.
        meter: counts what is measured; searches, which count for themselves, are told to it.
    """

    algorithm: CausalModel
    network: Network
    alignment: Alignment
    fresh: Unseen
    n: int
    seed: int
    at_least: float
    confidence: float
    on_event: OnEvent
    runs: Path | None = None
    rivals: Mapping[str, "Rival"] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
