"""Claims about organisms: of each the true one, and false ones of many kinds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import commute as cm
from benchmarks import variants
from benchmarks.specs import Spec
from benchmarks.untrained import untrained
from commute.causal.batches import take
from commute.causal.inputs import Inputs
from commute.models.organisms import Organism, Subspace
from commute.runs.seeds import stream, torch_seed

ALL, SOME = "all variables", "some variables"
FALSE_EACH = 7  # false claims of each organism, of the kinds in turn
_UNTRAINED_EVERY = 10  # organisms, of which one has claims about a network that was never trained


@dataclass(frozen=True, eq=False)
class Case:
    """A claim, and how it was made."""

    kind: str
    algorithm: cm.CausalModel
    network: cm.Network
    alignment: cm.Alignment


@dataclass(frozen=True, eq=False)
class Making:
    """What claims about one organism are made from.

    Attributes:
        spec: the organism's.
        organism: itself.
        variable: the one that a false claim is wrong about.
        other: another one, if there is one.
        generator: of all that is drawn.
    """

    spec: Spec
    organism: Organism
    variable: str
    other: str | None
    generator: np.random.Generator

    @property
    def model(self) -> cm.CausalModel:
        """The organism's algorithm."""
        return self.organism.algorithm

    @property
    def own(self) -> Subspace:
        """Where the variable is."""
        return self.organism.subspaces[self.variable]

    def elsewhere(self, site: cm.Site, dims: int, taken: list[Tensor]) -> Subspace | None:
        """Random directions at a site, orthogonal to those that are taken; None where there are not many others left."""
        inputs = self.model.labels(take(Inputs(self.model).listed, slice(2)))
        width = self.organism.network.activations(inputs, [site])[site].shape[1]
        held = torch.cat([torch.zeros(width, 0), *taken], 1)
        if held.shape[1] + 2 * dims > width:
            return None
        drawn = torch.randn(width, dims, generator=torch.Generator().manual_seed(torch_seed(self.generator)))
        return Subspace(site, torch.linalg.qr(torch.cat([held, drawn], 1)).Q[:, held.shape[1] :].contiguous())

    def taken(self, but: str | None = None) -> list[Tensor]:
        """The directions of variables at the variable's own site, of all or all but one."""
        return [s.directions for v, s in self.organism.subspaces.items() if s.site == self.own.site and v != but]


Made = tuple[Organism, cm.CausalModel, Mapping[str, Subspace]]  # the network's organism, what is claimed of it, and where


def cases_of(spec: Spec) -> Iterator[Case]:
    """The claims about one organism."""
    organism = spec.compiled()
    names = list(organism.subspaces)
    place = spec.index % len(names)
    other = names[place - 1] if len(names) > 1 else None
    making = Making(spec, organism, names[place], other, stream(spec.seed, "benchmark", "claims", str(spec.index)))
    yield Case(ALL, organism.algorithm, organism.network, organism.alignment)
    if other is not None:
        some = {v: s for v, s in organism.subspaces.items() if v != names[place]}
        yield Case(SOME, organism.algorithm, organism.network, cm.Alignment.along(some))
    yield from _false(making)
    if spec.index % _UNTRAINED_EVERY == 0:
        for trained in (False, True):
            network, alignment = untrained(organism.algorithm, spec.seed, readout=trained)
            kind = f"untrained network, {'trained' if trained else 'random'} readout"
            yield Case(kind, organism.algorithm, network, alignment)


def _false(making: Making) -> Iterator[Case]:
    kinds = list(KINDS)
    left = FALSE_EACH
    for i in range(len(kinds)):
        kind = kinds[(5 * making.spec.index + i) % len(kinds)]
        made = KINDS[kind](making)
        if made is None:
            continue
        organism, algorithm, at = made
        yield Case(kind, algorithm, organism.network, cm.Alignment.along({**organism.subspaces, **at}))
        left -= 1
        if not left:
            return


def _rival(m: Making) -> Made | None:
    found = cm.organisms.rivals(m.model)
    return (m.organism, found[int(m.generator.integers(len(found)))], {}) if found else None


def _wrong_site(m: Making) -> Made | None:
    """Random directions of the hidden units behind the variable's site."""
    found = m.elsewhere(cm.Site(f"{m.own.site.path}.relu"), m.own.dims, [])
    return None if found is None else (m.organism, m.model, {m.variable: found})


def _wrong_subspace(m: Making) -> Made | None:
    found = m.elsewhere(m.own.site, m.own.dims, m.taken(but=m.variable))
    return None if found is None else (m.organism, m.model, {m.variable: found})


def _exchanged(m: Making) -> Made | None:
    at = m.organism.subspaces
    if m.other is None or at[m.variable].dims != at[m.other].dims:
        return None
    return m.organism, m.model, {m.variable: at[m.other], m.other: at[m.variable]}


def _leak(wrong: float) -> Callable[[Making], Made]:
    """A leak through which so many of all interchanges of the variable are answered wrongly."""

    def make(m: Making) -> Made:
        changing = float(cm.pairs(m.model, [m.variable], 20_000, design="uniform").changed.mean())
        return m.spec.compiled(leak={m.variable: min(wrong / changing, 0.98)}), m.model, {}

    return make


def _backup(m: Making) -> Made | None:
    return None if m.other is None else (m.spec.compiled(backup=(m.variable, m.other)), m.model, {})


def _dead(m: Making) -> Made:
    organism = m.spec.compiled(dead=(m.variable,))
    return organism, m.model, {m.variable: organism.others[f"dead copy of {m.variable}"]}


def _one_copy(m: Making) -> Made:
    organism = m.spec.compiled(redundant=(m.variable,))
    return organism, m.model, {m.variable: organism.others[f"one copy of {m.variable}"]}


def _finer(m: Making) -> Made:
    by = m.model.inputs[int(m.generator.integers(len(m.model.inputs)))]
    return m.organism, variants.finer(m.model, m.variable, by), {}


def _almost(m: Making) -> Made | None:
    found = variants.almost(m.model, m.variable, m.generator)
    return None if found is None else (m.organism, found, {})


def _otherwise_once(m: Making) -> Made:
    return m.organism, variants.flipped(m.model, m.variable, m.generator), {}


def _rare(m: Making) -> Made | None:
    found = m.elsewhere(m.own.site, 1, m.taken())
    return None if found is None else (m.organism, variants.with_rare(m.model, m.generator), {variants.RARE: found})


KINDS: Mapping[str, Callable[[Making], Made | None]] = {
    "rival algorithm": _rival,
    "wrong site": _wrong_site,
    "wrong subspace": _wrong_subspace,
    "two variables exchanged": _exchanged,
    "leak of 4%": _leak(0.04),
    "leak of 15%": _leak(0.15),
    "leak of 50%": _leak(0.5),
    "leak in joint interchanges": _backup,
    "dead copy": _dead,
    "one copy of two": _one_copy,
    "finer than encoded": _finer,
    "almost right": _almost,
    "otherwise once": _otherwise_once,
    "rare event": _rare,
}
