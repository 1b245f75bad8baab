"""Measuring the items of a battery, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from commute.alignments.binomial import Count
from commute.alignments.variable_sets import variable_sets
from commute.proofs.battery import SAMPLED, Item
from commute.proofs.checked import Checked, Sampler
from commute.proofs.claimed import Claimed
from commute.proofs.controls import CONTROLS
from commute.proofs.decide import judged_controls, judged_distinctions
from commute.proofs.diagnostics import DIAGNOSTICS
from commute.proofs.distinctions import distinctions
from commute.proofs.evidence import Evidence
from commute.proofs.interchanging import alone, interchange, larger_sets, remainder_exchanged
from commute.proofs.meter import Meter
from commute.proofs.readout import read_outs
from commute.proofs.refute import refute
from commute.proofs.sampling import Sampling
from commute.runs.events import ControlMeasured, VerificationStarted

_SEARCHING: tuple[Item, ...] = ("random subspace", "re-initialised network", "permuted algorithm", "stability")
_SEARCHED = 25  # pairs of a search for counterexamples, as a multiple of those of a control


def checked_by(claimed: Claimed, items: Sequence[Item], sampling: Sampling) -> dict[Item, list[Checked]]:
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


def measured_of(claimed: Claimed, items: Sequence[Item]) -> Iterator[Evidence]:
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
