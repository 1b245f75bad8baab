"""A network after an interchange, as one program."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commute.alignments.alignment import Alignment
from commute.causal.batches import Batch, as_column, rows_of, take
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.causal.model import CausalModel
from commute.errors import NetworkError, check, unknown
from commute.models.decoding import Readout, labels_of
from commute.models.hooks import evaluating
from commute.models.network import Network
from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.interval import intervals
from commute.proofs.enclosures.rounding import PARTS, keeps_subnormals, stored
from commute.proofs.programs.entries import Entries, Leaves
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.lifting import lifted
from commute.proofs.programs.program import Program
from commute.proofs.programs.tracing import traced
from commute.runs.seeds import stream

_DRAWN = 32  # inputs on which a program is compared with its network
_LISTED = 4096  # inputs up to which all are looked at for what they have in common
_APART = {torch.float32: 1e-3, torch.float64: 1e-9}  # of the largest score: what rounding explains where it has no bound


@dataclass(frozen=True, eq=False)
class Patched:
    """The network's scores after an interchange of variables.

    Attributes:
        program: from the base's entries, and those of each variable's source in the order of `variables`, to scores [choices].
        variables: that are interchanged.
        labels: the label that each score stands for.
        entries: from inputs to the network's numbers [batch, entries], in float64, exactly.
    """

    program: Program
    variables: tuple[str, ...]
    labels: tuple[Hashable, ...]
    entries: Callable[[Batch], Tensor]


def patched_program(algorithm: CausalModel, network: Network, alignment: Alignment, variables: Sequence[str]) -> Patched:
    """The network's scores after an interchange of variables, as one program.

    What depends on no input is a constant, as torch computes it once. The program is compared with the network on inputs that are
    drawn from the algorithm's: the network's scores must be among those that rounding can make of the program's.

    Args:
        algorithm: whose inputs the network takes, and whose one output it answers.
        network: the network, on the CPU.
        alignment: the feature of each variable, at one or several sites.
        variables: that are set, each to the value that it takes for its own source.

    Raises:
        NetworkError: naming an operation that has no rule; when control flow depends on the input; when the program does not
            compute what the network computes; and when decode does not choose one label of the algorithm's by the largest score.
    """
    dtype = _checked(algorithm, network, alignment, variables)
    inputs = _inputs(algorithm)
    batch = take(inputs, slice(_DRAWN))
    sites = [f.site for v in variables for f in alignment.parts(v)]
    network.check_deterministic(batch, sites)
    with evaluating(network.module), torch.no_grad():
        plain = network.call(batch)
    readout = Readout.of(network.decode, plain, rows_of(batch))
    _chosen(network, readout, plain, rows_of(batch))
    (output,) = algorithm.outputs
    domain = algorithm.domain(output)
    if not isinstance(domain, Finite):
        raise NetworkError(f"the output {output!r} must have a Finite domain; it is {domain}")
    readout.choices(as_column(domain.values))
    rolled = {v: np.roll(np.arange(_DRAWN), 1 + i) for i, v in enumerate(variables)}
    sources = {v: take(batch, rows) for v, rows in rolled.items()}
    expected = _patched_scores(network, alignment, readout, batch, sources)
    leaves = Leaves.of(network, inputs, sites)
    graph = traced(network, alignment, variables, take(inputs, slice(1)), leaves.flat, leaves.varying)
    program, recipes = lifted(graph, len(leaves.varying), dtype, 1 + len(variables))
    made = Patched(program, tuple(variables), readout.labels, Entries(leaves, recipes, 1 / torch.finfo(dtype).eps * 2))
    _check(made, network, [batch, *sources.values()], expected, _APART[dtype])
    return made


def _checked(algorithm: CausalModel, network: Network, alignment: Alignment, variables: Sequence[str]) -> torch.dtype:
    """The network's arithmetic, where all fits."""
    problems = [unknown("aligned variable", v, alignment) for v in variables if v not in alignment]
    if not variables or len(set(variables)) < len(variables):
        problems.append(f"variables must name at least one variable, each once; given {list(variables)!r}")
    if len(algorithm.outputs) != 1:
        problems.append(f"the algorithm must have one output; it has {', '.join(algorithm.outputs)}")
    tensors = [*network.module.parameters(), *network.module.buffers()]
    if any(x.device.type != "cpu" for x in tensors):
        problems.append("the network must be on the CPU; give it as network.module.cpu()")
    kinds = {x.dtype for x in tensors if x.is_floating_point()} or {torch.float32}
    if len(kinds) > 1 or not kinds <= set(_APART):
        told = ", ".join(sorted(map(str, kinds)))
        problems.append(f"the network must compute in torch.float32 or in torch.float64; its weights are {told}")
    if 1 + len(variables) > PARTS:
        problems.append(f"there may be at most {PARTS - 1} variables; given {len(variables)}")
    if not keeps_subnormals():
        problems.append("torch takes numbers below the smallest normal one for 0; call torch.set_flush_denormal(False)")
    check(problems, NetworkError, f"a program of the network {network.name!r}")
    return kinds.pop()


def _inputs(algorithm: CausalModel) -> Batch:
    """Inputs that are drawn, and after them all there are, or each value of each finite input once where there are many."""
    inputs = Inputs(algorithm)
    drawn = inputs.sample(stream(0, "proofs", "programs"), _DRAWN)
    parts = [drawn]
    finite = [len(d) for v in algorithm.inputs if isinstance(d := algorithm.domain(v), Finite)]
    if len(finite) == len(algorithm.inputs) and prod(finite) <= _LISTED:
        return algorithm.labels({v: np.concatenate([x, inputs.listed[v]]) for v, x in drawn.items()})
    for v in algorithm.inputs:
        domain = algorithm.domain(v)
        if isinstance(domain, Finite):
            codes = np.arange(len(domain), dtype=domain.code_type)
            parts.append({w: codes if w == v else x[:1].repeat(len(codes)) for w, x in drawn.items()})
    return algorithm.labels({v: np.concatenate([part[v] for part in parts]) for v in algorithm.inputs})


def _patched_scores(
    network: Network, alignment: Alignment, readout: Readout, base: Batch, sources: Mapping[str, Batch]
) -> Tensor:
    """What the network gives after an interchange, [rows, choices]."""
    with evaluating(network.module), torch.no_grad():
        do: dict[Any, Any] = {}
        for v, source in sources.items():
            features = alignment.parts(v)
            do |= dict(zip(features, network.read(source, features), strict=True))
        return _chosen(network, readout, network.call(base, do), rows_of(base)).double()


def _chosen(network: Network, readout: Readout, output: Any, rows: int) -> Tensor:
    """The scores of an output, of which decode must choose the largest: which of equal ones is not asked."""
    scores = readout.scores(output, rows)
    decoded = labels_of(readout.decode(output)).tolist()  # type: ignore[union-attr]  # one output, as Readout.of has seen
    best = scores.argmax(1)
    clear = (scores >= scores.gather(1, best.unsqueeze(1))).sum(1) == 1
    for i, choice in enumerate(best.tolist()):
        given, label = decoded[i], readout.labels[choice]
        if clear[i] and given != label:
            raise NetworkError(
                f"decode of {network.name!r} answers {given!r} where the largest score stands for {label!r}; a program is of a "
                "network that answers by its largest score, so decode may look at nothing else"
            )
    return scores


def _check(patched: Patched, network: Network, given: Sequence[Batch], expected: Tensor, apart: float) -> None:
    """Raise a NetworkError where the program's scores are not the network's, by more than rounding may make them another's."""
    entries = [patched.entries(x) for x in given]
    found, arithmetic = values(patched.program, entries)[-1], stored(patched.program)
    right = torch.tensor(found.shape == expected.shape)
    if right:
        bounds = intervals(patched.program, [Box(x, torch.zeros_like(x)) for x in entries], arithmetic)[-1]
        close = (found - expected).abs() <= apart * expected.abs().amax()  # where no bound is known
        inside = (bounds.lower <= expected) & (expected <= bounds.upper)
        right = torch.where(bounds.magnitude.isfinite(), inside, close)
    if not right.all():
        raise NetworkError(
            f"the program of {network.name!r} does not compute what the network computes: the way that the network takes depends "
            "on its inputs, on the other rows of a batch or on what it keeps"
        )
