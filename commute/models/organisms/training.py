"""Training a network so that it computes an algorithm, with each variable where it is wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commute.causal.designs import pairs
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.causal.pairs import Pairs, make_pairs
from commute.errors import NetworkError, check, not_counts
from commute.models.decoding import Readout
from commute.models.hooks import evaluating
from commute.models.network import Network
from commute.models.organisms.exchanging import Drawn, Kind, Parts, Variables, parts_of, scores
from commute.models.organisms.organism import Organism, Subspace
from commute.models.organisms.placing import Place, placed
from commute.models.sites import Site
from commute.runs.seeds import stream

_ROUND = 25  # steps between checks
_FEW, _MANY = 256, 4096  # pairs of each kind of exchange in a check, and in a second one where the first is passed
_SHOWN = 6  # kinds of exchange that a message lists


def train(
    model: CausalModel,
    network: Network,
    *,
    places: Mapping[str, Place],
    strict: bool = False,
    at_least: float = 0.99,
    steps: int = 5000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Organism:
    """Train a network by interchange intervention training until it computes an algorithm with its variables in given places.

    The loss is the mean cross-entropy of the answers on inputs as they are, after the interchange of each placed variable, and
    after that of all of them jointly, each from a source of its own; what is wanted is the algorithm's answer, and gradients flow
    through bases and sources (interchange intervention training, 2112.00826).

    With `strict`, as much weight is on the same with the rest of the sites exchanged: what is orthogonal to the places of all
    variables at a site is taken from the run of yet another input, and that must not matter (strict interchange intervention
    training, 2407.14494). So the answer wanted is that for the base where nothing else is exchanged, and the algorithm's answer
    after the interchange where variables are. It is exchanged at one site after the other and, where there are several, at all
    of them from the same input. This can only be learned if all that the answer depends on is in the places, or passes by their
    sites: in an MLP, the variables placed in a layer must together decide the answer; in a transformer, the rest can go by other
    positions.

    Training ends as soon as the answers to fresh pairs are right at a rate of `at_least` for every one of these kinds, on inputs
    as they are included, and on many more pairs again. This is no bound on the rate; `verify` and `prove` give bounds.

    The network is trained in place, in evaluation mode (without dropout, as an interchange needs); parameters that do not
    require gradients stay as they are, and so does torch's random state.

    Args:
        model: the algorithm, with one output.
        network: such as `mlp` and `transformer` make, or any module with the meaning of its inputs and outputs. Its decode must
            choose labels with `argmax`, or by comparing a number.
        places: where each variable is to be: a site and the dims of its vectors there, or a `Subspace`.
        strict: whether the rest of the sites must not matter.
        at_least: the rate of right answers to reach.
        steps: of the optimiser (Adam) at most.
        batch_size: pairs of each kind of exchange in a step.
        learning_rate: of the optimiser.
        seed: of the pairs.

    Returns:
        The algorithm, the network, and the places; with `strict`, the rest of each site is among `others`.

    Raises:
        NetworkError: listing all that is wrong with what was given; and when the steps are over, saying what was reached. The
            network keeps what it learned.
    """
    if not isinstance(network, Network):
        raise NetworkError(
            f"train takes a Network, which says what goes in and what comes out: cm.Network(module, encode=…, decode=…); given "
            f"{type(network).__name__}"
        )
    weights = [p for p in network.module.parameters() if p.requires_grad]
    _check(model, network, weights, at_least, learning_rate, steps=steps, batch_size=batch_size)
    few = _as_they_are(model, 2, stream(seed, "organisms", "few")).base
    subspaces = placed(model, network, places, few)
    with evaluating(network.module), torch.enable_grad():
        readout = Readout.of(network.decode, network.call(few), 2)
        training = _training(model, network, readout, subspaces, strict=strict)
        training.run(weights, at_least=at_least, steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    return Organism(model, network, subspaces, _rests(subspaces) if strict else {})


@dataclass(frozen=True, eq=False)
class _Training:
    """What is trained on what.

    Attributes:
        sets: of variables that are interchanged together, the empty one first.
        rests: sets of sites whose rest is exchanged together, none at first.
    """

    model: CausalModel
    network: Network
    readout: Readout
    parts: Parts
    sets: Sequence[Variables]
    rests: Sequence[tuple[Site, ...]]

    def run(
        self, weights: Sequence[nn.Parameter], *, at_least: float, steps: int, batch_size: int, learning_rate: float, seed: int
    ) -> None:
        """Train until all kinds of exchange are right at a rate of `at_least`.

        Raises:
            NetworkError: when the steps are over before that.
        """
        optimizer = torch.optim.Adam(weights, learning_rate)
        to_train, to_check = (stream(seed, "organisms", part) for part in ("train", "check"))
        rests = cycle(self.rests[1:] or self.rests)
        reached: dict[Kind, float] = {}
        for start in range(0, steps, _ROUND):
            several = min(_ROUND, steps - start)
            drawn = self.draw(several * batch_size, to_train)
            for step in range(several):
                optimizer.zero_grad()
                self.loss(drawn[step * batch_size : (step + 1) * batch_size], next(rests)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            optimizer.zero_grad()
            reached = self.rates(self.draw(_FEW, to_check), batch_size)
            if min(reached.values()) >= at_least:
                reached = self.rates(self.draw(_MANY, to_check), batch_size)
            if min(reached.values()) >= at_least:
                return
        raise NetworkError(self.told(reached, at_least, steps))

    def draw(self, n: int, generator: np.random.Generator) -> Drawn:
        """Fresh pairs, `n` of each set of variables."""
        drawn = {s: pairs(self.model, s, n, seed=generator) if s else _as_they_are(self.model, n, generator) for s in self.sets}
        (output,) = self.model.outputs
        choices = {s: self.readout.choices(p.expected[output]) for s, p in drawn.items()}
        return Drawn(drawn, _as_they_are(self.model, n, generator).base, choices)

    def loss(self, drawn: Drawn, rest: tuple[Site, ...]) -> Tensor:
        """The mean cross-entropy after interchanges, and after those with the rest of some sites exchanged.

        Raises:
            NetworkError: when it is not finite.
        """
        kinds = [(s, r) for r in dict.fromkeys([(), rest]) for s in self.sets]
        found = torch.cat(scores(self.network, self.readout, self.parts, drawn, kinds))
        choices = torch.cat([drawn.choices[s] for s, _ in kinds]).to(found.device)
        loss = cross_entropy(found.float(), choices)
        if not loss.isfinite():
            raise NetworkError(f"the loss of training {self.network.name!r} is {loss.item()}; try a smaller learning_rate")
        return loss

    @torch.no_grad()
    def rates(self, drawn: Drawn, at_once: int) -> dict[Kind, float]:
        """How often the answer is right after each kind of exchange."""
        kinds = [(s, r) for r in self.rests for s in self.sets]
        right = dict.fromkeys(kinds, 0)
        for start in range(0, len(drawn), at_once):
            part = drawn[start : start + at_once]
            for kind, x in zip(kinds, scores(self.network, self.readout, self.parts, part, kinds), strict=True):
                right[kind] += int((x.argmax(1).cpu() == part.choices[kind[0]]).sum())
        return {kind: count / len(drawn) for kind, count in right.items()}

    def told(self, reached: Mapping[Kind, float], at_least: float, steps: int) -> str:
        """What was reached when the steps were over, the worst first, and what to do."""
        short = sorted((rate, _named(kind)) for kind, rate in reached.items() if rate < at_least)
        rates = "; ".join(f"{rate:.3f} {name}" for rate, name in short[:_SHOWN])
        more = f"; and {len(short) - _SHOWN} more kinds of exchange are short of it" if len(short) > _SHOWN else ""
        mediated = "; with strict, all that the answer depends on must be in the places, or pass by their sites"
        return (
            f"training {self.network.name!r} did not reach {at_least} of right answers in {steps} steps, but {rates}{more}; give "
            f"it more steps, a wider network, more dims or another seed{mediated if len(self.rests) > 1 else ''}"
        )


def _training(
    model: CausalModel, network: Network, readout: Readout, subspaces: Mapping[str, Subspace], *, strict: bool
) -> _Training:
    sets: list[Variables] = [(), *((v,) for v in subspaces), tuple(subspaces)]
    open_ones = list(_rests(subspaces).values()) if strict else []
    rests: list[tuple[Site, ...]] = [(), *((rest.site,) for rest in open_ones), tuple(rest.site for rest in open_ones)]
    return _Training(model, network, readout, parts_of(subspaces), list(dict.fromkeys(sets)), list(dict.fromkeys(rests)))


def _rests(subspaces: Mapping[str, Subspace]) -> dict[str, Subspace]:
    """What no variable is in at each site, where that is anything."""
    found = {}
    for site in dict.fromkeys(s.site for s in subspaces.values()):
        taken = torch.cat([s.directions.detach() for s in subspaces.values() if s.site == site], 1)
        width, dims = taken.shape
        if dims < width:
            found[f"the rest of {site}"] = Subspace(site, torch.linalg.qr(taken, mode="complete").Q[:, dims:].contiguous())
    return found


def _as_they_are(model: CausalModel, n: int, generator: np.random.Generator) -> Pairs:
    """Uniform bases in which nothing is interchanged, with the algorithm's answers."""
    return make_pairs(model, Inputs(model).sample(generator, n), {}, design="uniform", independent=True)


def _named(kind: Kind) -> str:
    variables, rest = kind
    taken = [*variables, *(f"the rest of {site}" for site in rest)]
    return f"after exchanging {' + '.join(taken)}" if taken else "on inputs as they are"


def _check(
    model: CausalModel, network: Network, weights: Sequence[nn.Parameter], at_least: float, learning_rate: float, **counts: object
) -> None:
    problems = not_counts(**counts)
    if not 0 < at_least <= 1:
        problems.append(f"at_least must be a rate above 0 and at most 1; given {at_least!r}")
    if not learning_rate > 0:
        problems.append(f"learning_rate must be above 0; given {learning_rate!r}")
    if len(model.outputs) != 1:
        problems.append(
            f"the algorithm must have one output; {model.name!r} has {', '.join(model.outputs)}; merge them with merge_variables"
        )
    if not weights:
        problems.append(f"no parameter of {network.name!r} requires a gradient, so there is nothing to train; set requires_grad")
    check(problems, NetworkError, f"training {network.name!r}")
