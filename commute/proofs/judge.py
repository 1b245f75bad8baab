"""Judging an alignment: what is measured of it, and the verdict that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from commute.alignments.accuracy import Accuracy, agrees, check_network
from commute.alignments.alignment import Alignment
from commute.alignments.drawing import Unseen
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.battery import Battery, items_of
from commute.proofs.checked import Checked
from commute.proofs.claimed import Claimed
from commute.proofs.decide import decide, judged_slices
from commute.proofs.diagnostics import Rival
from commute.proofs.failing import counterexample_of, region_of
from commute.proofs.measuring import checked_by, measured_of
from commute.proofs.pairs_file import write_pairs
from commute.proofs.proved import Proofs, counterexample_in, proofs_of
from commute.proofs.proving.budget import Budget
from commute.proofs.sampling import Sampling
from commute.proofs.shown import FittedDims, Role, SearchedSite, Variable
from commute.proofs.verdict import Verdict
from commute.runs.events import Decided, OnEvent, ignore
from commute.runs.seeds import stream

_LOOKED_AT = 256  # inputs on which it is looked whether the network gives labels of the algorithm's
_SHARE = 4  # the claim's pairs of a variable, as a multiple of those of a control or diagnostic


@dataclass(frozen=True)
class Judging:
    """How a claim is judged; see `verify`."""

    at_least: float
    confidence: float
    battery: Battery
    sampling: Sampling
    seed: int
    tried: int = 1
    rivals: Mapping[str, Rival] = field(default_factory=dict)
    budget: Budget | str | float | None = None


@dataclass(frozen=True)
class Searched:
    """What the search for the alignment saw, to be shown with the verdict."""

    sites: tuple[SearchedSite, ...] = ()
    curve: tuple[FittedDims, ...] = ()


def judge(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    *,
    how: Judging,
    searched: Searched | None = None,
    pairs_to: Path | None = None,
    runs: Path | None = None,
    on_event: OnEvent = ignore,
) -> Verdict:
    """Judge a claim as `verify` says.

    What was `searched` is shown with it, pairs are written to `pairs_to` as parquet, and what controls find is kept in `runs`.
    """
    items, searched = items_of(how.battery), searched or Searched()
    claimed = Claimed(
        algorithm,
        network,
        alignment,
        Unseen.of(algorithm, alignment.found),
        n=max(how.sampling.n // _SHARE, 1),
        seed=how.seed,
        at_least=how.at_least,
        confidence=1 - (1 - how.confidence) / how.tried,
        on_event=on_event,
        runs=runs,
        rivals=how.rivals,
    )
    drawn_from = claimed.fresh.drawn_from
    looked_at = drawn_from.labels(Inputs(drawn_from).sample(stream(how.seed, "verify", "network"), _LOOKED_AT))
    check_network(drawn_from, network, alignment, looked_at)
    checked = checked_by(claimed, items, how.sampling)
    everything = [c for several in checked.values() for c in several]
    shared = claimed.fresh.shared  # by the claim's own pairs; what follows draws others
    if pairs_to is not None:
        write_pairs(everything, pairs_to)
    proofs = proofs_of(claimed, how.budget) if "proof" in items else Proofs()
    evidence = (
        *judged_slices(
            [s for c in everything for s in c.slices], by=how.sampling.by, at_least=how.at_least, confidence=claimed.confidence
        ),
        *measured_of(claimed, items),
        *proofs.evidence,
    )
    status, reasons = decide(evidence, items, at_least=how.at_least)
    on_event(Decided(status))
    return Verdict(
        status=status,
        reasons=reasons,
        evidence=evidence,
        accuracy=_pooled(network, checked["interchange"], claimed.confidence, fixed=how.sampling.until is None),
        counterexample=counterexample_of(claimed, everything, evidence) or counterexample_in(proofs, claimed),
        algorithm=algorithm.name,
        network=network.name,
        variables=tuple(_variable(algorithm, alignment, v) for v in algorithm.graph),
        sites=searched.sites,
        at_least=how.at_least,
        confidence=how.confidence,
        seed=how.seed,
        candidates=alignment.found.candidates if alignment.found else None,
        shared=shared,
        region=region_of(claimed, everything, evidence, by=how.sampling.by) if status == "refuted" else None,
        curve=searched.curve,
        costs=claimed.meter.costs,
        method=type(alignment.found.search.method).__name__ if alignment.found else None,
        battery=items,
        tried=how.tried,
        proofs=proofs.shown,
    )


def _pooled(network: Network, checked: Sequence[Checked], confidence: float, *, fixed: bool) -> Accuracy:
    """IIA over the pairs of all sets of variables together; without an interval where their number hung on the answers."""
    right = np.concatenate([c.right for c in checked])
    changed = np.concatenate([c.pairs.changed for c in checked])
    unpatched = np.concatenate([agrees(network.run(c.pairs.base), c.pairs.expected) for c in checked])
    return Accuracy.of(right, unpatched, changed, independent=fixed, confidence=confidence)


def _variable(algorithm: CausalModel, alignment: Alignment, name: str) -> Variable:
    roles: dict[str, Role] = {
        **dict.fromkeys(algorithm.internal, "internal"),
        **dict.fromkeys(algorithm.outputs, "output"),
    }
    feature = " + ".join(map(str, alignment.parts(name))) if name in alignment else None
    return Variable(name, roles.get(name, "input"), tuple(algorithm.graph.predecessors(name)), feature)
