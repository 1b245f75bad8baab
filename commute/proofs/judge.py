"""Judging an alignment: the items of a battery measured one after the other, and what follows from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from commute.alignments.accuracy import Accuracy, agrees, check_labels
from commute.alignments.alignment import Alignment
from commute.alignments.binomial import Count
from commute.alignments.drawing import Unseen
from commute.alignments.variable_sets import variable_sets
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.battery import SAMPLED, Battery, Item, items_of
from commute.proofs.checked import Checked, Sampler
from commute.proofs.claimed import Claimed
from commute.proofs.controls import CONTROLS
from commute.proofs.decide import decide, judged_controls, judged_distinctions, judged_slices
from commute.proofs.diagnostics import DIAGNOSTICS, Rival
from commute.proofs.distinctions import distinctions
from commute.proofs.evidence import Evidence
from commute.proofs.failing import counterexample_of, region_of
from commute.proofs.interchanging import alone, interchange, larger_sets, remainder_exchanged
from commute.proofs.meter import Meter
from commute.proofs.pairs_file import write_pairs
from commute.proofs.readout import read_outs
from commute.proofs.refute import refute
from commute.proofs.sampling import Sampling
from commute.proofs.shown import FittedDims, Role, SearchedSite, Variable
from commute.proofs.verdict import Verdict
from commute.runs.events import ControlMeasured, Decided, OnEvent, VerificationStarted, ignore
from commute.runs.seeds import stream

_SEARCHING: tuple[Item, ...] = ("random subspace", "re-initialised network", "permuted algorithm", "stability")
_SEARCHED = 25  # pairs of a search for counterexamples, as a multiple of those of a control
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
    _check_network(claimed)
    checked = _checked(claimed, items, how.sampling)
    everything = [c for several in checked.values() for c in several]
    shared = claimed.fresh.shared  # by the claim's own pairs; what follows draws others
    if pairs_to is not None:
        write_pairs(everything, pairs_to)
    evidence = (
        *judged_slices(
            [s for c in everything for s in c.slices], by=how.sampling.by, at_least=how.at_least, confidence=claimed.confidence
        ),
        *_measured(claimed, items),
    )
    status, reasons = decide(evidence, items, at_least=how.at_least)
    on_event(Decided(status))
    return Verdict(
        status=status,
        reasons=reasons,
        evidence=evidence,
        accuracy=_pooled(network, checked["interchange"], claimed.confidence, fixed=how.sampling.until is None),
        counterexample=counterexample_of(claimed, everything, evidence),
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
    )


def _checked(claimed: Claimed, items: Sequence[Item], sampling: Sampling) -> dict[Item, list[Checked]]:
    """The claim's own pairs, by item."""
    samplers = [(item, s) for item in SAMPLED if item in items for s in _SAMPLERS[item](claimed, sampling.most)]
    claimed.on_event(VerificationStarted(sampling.most * sum(item == "interchange" for item, _ in samplers)))
    metered = [_metered(sampler, item, claimed.meter) for item, sampler in samplers]
    done = sampling.drawn(metered, at_least=claimed.at_least, confidence=claimed.confidence)
    found: dict[Item, list[Checked]] = {}
    for (item, _), checked in zip(samplers, done, strict=True):
        found.setdefault(item, []).append(checked)
    return found


def _metered(sampler: Sampler, item: Item, meter: Meter) -> Sampler:
    def draw(n: int) -> Checked:
        with meter.of(item):
            return sampler.draw(n)

    return Sampler(sampler.what, draw)


def _check_network(claimed: Claimed) -> None:
    """That the network is deterministic, and speaks the algorithm's language."""
    algorithm = claimed.fresh.drawn_from
    drawn = algorithm.labels(Inputs(algorithm).sample(stream(claimed.seed, "verify", "network"), _LOOKED_AT))
    claimed.network.check_deterministic(drawn, claimed.alignment.sites)
    check_labels(algorithm, claimed.network.run(drawn))


def _interchanges(claimed: Claimed, planned: int) -> Iterator[Sampler]:
    variables = list(claimed.alignment)
    sets = variable_sets(variables)
    for chosen in sets:
        yield interchange(claimed, chosen, planned)
    if len(sets) < 2 ** len(variables) - 1:
        yield larger_sets(claimed, planned)


def _remainders(claimed: Claimed, planned: int) -> Iterator[Sampler]:
    del planned
    if len(claimed.alignment) > 1:
        yield remainder_exchanged(claimed)


def _survived(claimed: Claimed) -> Iterator[Evidence]:
    """A search for a failing pair, of any set of variables; what it finds enters no interval."""
    found = refute(claimed.algorithm, claimed.network, claimed.alignment, pairs=_SEARCHED * claimed.n, seed=claimed.seed)
    says = "pairs of every set of variables, drawn until one fails" + (
        f": {found.counterexample.summary}" if found.counterexample else ""
    )
    right = Count(found.screened - found.failing, found.screened)
    name, warning = "counterexample search", found.counterexample is not None
    yield Evidence("diagnostic", "survived", name, tuple(claimed.alignment), right, 0.0, 1.0, None, says, warning)


_SAMPLERS: Mapping[Item, Callable[[Claimed, int], Iterator[Sampler]]] = {
    "no intervention": lambda claimed, _: iter([alone(claimed)]),
    "interchange": _interchanges,
    "read-out": lambda claimed, _: read_outs(claimed),
    "remainder exchanged": _remainders,
}


def _measured(claimed: Claimed, items: Sequence[Item]) -> Iterator[Evidence]:
    """Everything but the claim's own pairs."""
    if "distinctions" in items:
        with claimed.meter.of("distinctions"):
            yield from judged_distinctions(list(distinctions(claimed)), at_least=claimed.at_least, confidence=claimed.confidence)
    controls = []
    for name, control in CONTROLS.items():
        if name in items:
            with _meter(claimed, name):
                group = control(claimed)
            controls += group
            if any(c.count for c in group):
                claimed.on_event(ControlMeasured(name, max(c.count.rate for c in group if c.count)))
    yield from judged_controls(controls, at_least=claimed.at_least, confidence=claimed.confidence)
    for name, diagnostic in {**DIAGNOSTICS, "counterexample search": _survived}.items():
        if name in items:
            with _meter(claimed, name):
                found = list(diagnostic(claimed))
            yield from found


def _meter(claimed: Claimed, item: Item) -> AbstractContextManager[None]:
    """Counts an item; those that search count for themselves, since counting slows training down."""
    return nullcontext() if item in _SEARCHING else claimed.meter.of(item)


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
