"""Compiling: from any finite algorithm to a network of ReLU layers that computes it, variable by variable."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from numbers import Integral, Real

import numpy as np
import torch

from commute.causal.batches import Column
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.errors import NetworkError, check, unknown
from commute.models.network import Network
from commute.models.organisms.blocks import Block, Blocks, activations, computing, joined, linear, noisy, passing, random
from commute.models.organisms.cases import Cases, cases_of, check_units, sizes_of
from commute.models.organisms.coding import Decode, Encode, one_hot
from commute.models.organisms.disguises import disguised, levels
from commute.models.organisms.organism import Organism, Subspace
from commute.models.organisms.streams import Code, Stream
from commute.models.sites import Site
from commute.runs.seeds import stream as seeded

_FUNCTIONS = "random functions of the inputs"  # the name of the distractors in a stream
_DISTRACTORS = 2**12  # directions at most: a block's matrices grow with their square
_SEEN = 1024  # inputs on which random functions are scaled


def compile(  # noqa: A001  # organisms.compile
    model: CausalModel,
    *,
    rotate: bool = True,
    scale: float = 1.0,
    distractors: int = 8,
    noise: float = 0.0,
    redundant: Sequence[str] = (),
    dead: Sequence[str] = (),
    leak: Mapping[str, float] | None = None,
    backup: Sequence[str] = (),
    seed: int = 0,
) -> Organism:
    """A network that computes a finite algorithm, with each variable in directions that are known.

    Block t computes the variables of the t-th generation of the algorithm's graph from what block t - 1 wrote, and passes on
    what is still to be read. A variable with n values is a regular simplex in n - 1 directions of the output of the block that
    computes it. Each hidden ReLU unit stands for one combination of the parents' values, or passes a value on.

    Without noise, leak and backup the answers are the algorithm's whatever is interchanged along `alignment`. A leak and a backup
    keep the answers to inputs and make `alignment` wrong in a known way: it is right once what is read instead is joined to it.

    Args:
        model: the algorithm, all of whose domains are finite.
        rotate: rotate what each block writes at random; otherwise variables lie along neurons.
        scale: stretch each coordinate by a random factor between 1 / `scale` and `scale`; 1 stretches none.
        distractors: how many directions, at every site, carry random functions of the inputs that nothing reads.
        noise: the standard deviation, over the inputs and in each neuron that a block writes, of a random function that is added
            to it, so that answers become slightly wrong.
        redundant: variables that are computed twice. What reads one goes by it only where both copies agree, and the variable is
            both together; `others["one copy of …"]` is one of them.
        dead: variables that are also in directions which nothing reads, `others["dead copy of …"]`.
        leak: for a variable the share of bases for which what reads it reads a copy instead, `others["leaked copy of …"]`. They
            are drawn from the inputs, as many for each value of the variable and of the outputs as the numbers of inputs allow.
        backup: two variables. Where both differ from copies of theirs, `others["backup copy of …"]`, what reads the first reads
            its copy (or the second, where it is only the first that the second is computed from), so an interchange of either
            alone shows nothing.
        seed: of all that is random; weights are the same for the same seed.

    Raises:
        NetworkError: for domains that are not finite, mechanisms that would take too many units, and options that do not fit.
    """
    leak = {} if leak is None else leak
    sizes_of(model)  # says what is no finite model
    _check_options(
        model,
        rotate=rotate,
        scale=scale,
        distractors=distractors,
        noise=noise,
        redundant=redundant,
        dead=dead,
        leak=leak,
        backup=backup,
    )
    made = disguised(
        model,
        cases_of(model),
        redundant=redundant,
        dead=dead,
        leak=leak,
        backup=backup,
        generator=seeded(seed, "organisms", "gates"),
    )
    check_units({v: len(c.values) for v, c in made.cases.items()}, model.name)
    drawn = _Drawing(rotate=rotate, scale=scale, distractors=distractors, noise=noise, seed=seed)
    module, streams = drawn.module(model, made.cases)
    network = Network(
        module, encode=Encode(_domains(model, model.inputs)), decode=Decode(_domains(model, model.outputs)), name=model.name
    )
    level = levels(made.cases)

    def subspace(names: Sequence[str]) -> Subspace:
        place = level[names[0]]
        directions = torch.from_numpy(streams[place].directions(names)).float().contiguous()
        return Subspace(Site(f"blocks.{place}"), directions)

    return Organism(
        model,
        network,
        {v: subspace(made.parts.get(v, (v,))) for v in model.internal},
        {name: subspace(names) for name, names in made.others.items()},
    )


def _domains(model: CausalModel, variables: Sequence[str]) -> dict[str, Finite]:
    return {v: d for v in variables if isinstance(d := model.domain(v), Finite)}


@dataclass(frozen=True)
class _Drawing:
    """What is drawn at random in a network; see `compile`."""

    rotate: bool
    scale: float
    distractors: int
    noise: float
    seed: int

    def module(self, model: CausalModel, cases: Mapping[str, Cases]) -> tuple[Blocks, list[Stream]]:
        """The network, and what each block writes."""
        sizes = {**sizes_of(model), **{v: c.size for v, c in cases.items()}}
        codes = {v: Code.simplex(n) for v, n in sizes.items()}
        stream = Stream.drawn({v: Code.plain(sizes[v]) for v in model.inputs}, rotate=False, scale=1.0, generator=seeded(0))
        vectors = _seen(model, seeded(self.seed, "organisms", "inputs"))
        blocks: list[Block] = []
        streams: list[Stream] = []
        for names in _kept(cases, model.outputs):
            place = len(blocks)
            units = {v: passing(v, stream) if v in stream.codes else computing(cases[v], stream) for v in names}
            if self.distractors and not blocks:
                functions = random(self.distractors, vectors, seeded(self.seed, "organisms", "distractors"))
                codes[_FUNCTIONS] = Code.standardised(functions(vectors))
                units[_FUNCTIONS] = functions
            elif self.distractors:
                units[_FUNCTIONS] = passing(_FUNCTIONS, stream)
            written = {v: codes[v] for v in [*names, *([_FUNCTIONS] if self.distractors else [])]}
            generator = seeded(self.seed, "organisms", "stream", str(place))
            stream = Stream.drawn(written, rotate=self.rotate, scale=self.scale, generator=generator)
            noises = None
            if self.noise:
                noises = noisy(self.noise, stream.width, vectors, seeded(self.seed, "organisms", "noise", str(place)))
            blocks.append(joined(units, stream, noises))
            streams.append(stream)
            vectors = activations(blocks[-1], vectors)
        matrix, back = stream.read
        scores = np.concatenate([np.arange(len(back))[stream.amounts[v]] for v in model.outputs])
        head = linear(2 * matrix[scores], 2 * back[scores] - 1)  # 1 and -1: a score of 0 would be nothing but rounding
        return Blocks(blocks, head).eval(), streams


def _kept(cases: Mapping[str, Cases], outputs: Sequence[str]) -> list[list[str]]:
    """What each block writes: the variables that it computes, and those before it that are still to be read."""
    level = levels(cases)
    last = max(level.values())
    until = dict.fromkeys(outputs, last)  # the last block that writes a variable
    for variable, case in cases.items():
        for parent in case.parents:
            until[parent] = max(until.get(parent, -1), level[variable] - 1)
    until |= {v: max(until.get(v, -1), level[v]) for v in cases}
    return [[v for v, end in until.items() if level.get(v, 0) <= t <= end] for t in range(last + 1)]


def _seen(model: CausalModel, generator: np.random.Generator) -> Column:
    """One-hot inputs, [inputs, values of all]: all, or as many as are looked at."""
    domains = _domains(model, model.inputs)
    inputs = Inputs(model)
    columns = inputs.listed if prod(map(len, domains.values())) <= _SEEN else inputs.sample(generator, _SEEN)
    return one_hot(columns, domains).astype(np.float64)


def _check_options(
    model: CausalModel,
    *,
    rotate: bool,
    scale: float,
    distractors: int,
    noise: float,
    redundant: Sequence[str],
    dead: Sequence[str],
    leak: Mapping[str, float],
    backup: Sequence[str],
) -> None:
    """Raise a NetworkError that lists the options that do not fit."""
    problems = [] if isinstance(rotate, bool) else [f"rotate must be True or False; given {rotate!r}"]
    for name, given, least in (("scale", scale, 1), ("noise", noise, 0)):
        if not isinstance(given, Real) or isinstance(given, bool) or not least <= float(given) < inf:
            problems.append(f"{name} must be a finite number of at least {least}; given {given!r}")
    if not isinstance(distractors, Integral) or isinstance(distractors, bool) or not 0 <= distractors <= _DISTRACTORS:
        problems.append(f"distractors must be a whole number from 0 to {_DISTRACTORS:,}; given {distractors!r}")
    for name, several in (("redundant", redundant), ("dead", dead), ("leak", leak), ("backup", backup)):
        if isinstance(several, str) or not isinstance(several, Collection):
            problems.append(f"{name} names variables in a {'mapping' if name == 'leak' else 'list'}; given {several!r}")
            continue
        problems += [unknown("internal variable", v, model.internal) + f" ({name})" for v in several if v not in model.internal]
        problems += [f"{name} names a variable twice; given {several!r}"] * (len(set(several)) < len(several))
    if not isinstance(leak, Mapping):
        problems.append(f"leak maps variables to shares of inputs; given {leak!r}")
    else:
        wrong = {v: x for v, x in leak.items() if not isinstance(x, Real) or not 0 < float(x) < 1}
        problems += [
            f"the share of inputs for which {v!r} leaks must be above 0 and below 1; given {x!r}" for v, x in wrong.items()
        ]
    if len(backup) not in (0, 2):
        problems.append(f"backup names two variables; given {backup!r}")
    check(problems, NetworkError, f"compiling {model.name!r}")
