"""Causal scrubbing: whether a circuit still works when its nodes are run on other inputs that a hypothesis calls equal.

Chan, Garriga-Alonso, Goldowsky-Dill, Greenblatt, Nitishinskaya, Radhakrishnan, Shlegeris and Thomas: Causal scrubbing, a method
for rigorously testing interpretability hypotheses (Redwood Research, Alignment Forum, 2022).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from reprlib import repr as short
from typing import Any, get_args

import networkx as nx
import numpy as np

from commute.causal.batches import Batch, Column, rows_of, take
from commute.causal.inputs import Inputs
from commute.causal.interventions import Setting
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check, not_counts, unknown
from commute.models.circuits.behaviour import Behaviour, Measure
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.runs import Runs
from commute.models.rows import batched
from commute.proofs.circuits.given import not_circuit, not_confidence
from commute.proofs.circuits.intervals import Estimate, mean, rate, ratio, ratio_of_rates
from commute.proofs.circuits.scrub_draws import alike, drawn_rows
from commute.proofs.circuits.scrub_run import scrubbed_scores
from commute.proofs.circuits.scrub_shown import shown
from commute.proofs.circuits.scrub_tree import Copied, Names, Sharing, Tree, treeified
from commute.proofs.circuits.values import BITS, of_scores, of_whole
from commute.proofs.circuits.values import values as of_circuits
from commute.runs.seeds import stream

Correspondence = Mapping[Any, str | Sequence[str]]  # nodes, or edges as pairs or "input->m0", and the variables that they carry

_LISTED = 2**16  # inputs that are all drawn from; of more, so many are drawn
_MANY = 8  # problems told of at once


@dataclass(frozen=True, eq=False, repr=False)
class Scrubbing:
    """What a circuit keeps of its network's behaviour when its nodes are run on other inputs.

    Attributes:
        circuit: the circuit.
        names: the variables of its nodes, and of what flows along edges.
        measure: of what is kept; see `Behaviour`.
        confidence: of each bound.
        scrubbed_values: the measure on each input, scrubbed, [n].
        whole_values: that of the whole network, [n].
        random_values: that of the whole network run on any other input, [n].
        inputs: from which all were drawn.
        values: of the named variables and the algorithm's output on these.
        drawn: which of them was used, [draws, n].
        plan: of the tree, which is the same for all inputs.
    """

    circuit: Circuit
    names: Names
    measure: Measure
    confidence: float
    scrubbed_values: Column
    whole_values: Column
    random_values: Column
    inputs: Batch
    values: Batch
    drawn: Column
    plan: Tree

    def __repr__(self) -> str:
        return f"Scrubbing({self})"

    def __str__(self) -> str:
        exchanged = "" if np.isnan(self.exchanged) else f"; {self.exchanged:.0%} of draws are another input"
        return (
            f"{self.measure} {self.scrubbed} scrubbed, {self.whole} whole, {self.random} on random inputs: "
            f"{self.recovered} recovered on {len(self.scrubbed_values)} inputs{exchanged}"
        )

    @property
    def scrubbed(self) -> Estimate:
        """The measure when nodes are run on other inputs that agree on their variables."""
        return self._mean(self.scrubbed_values)

    @property
    def whole(self) -> Estimate:
        """The measure of the network as it is."""
        return self._mean(self.whole_values)

    @property
    def random(self) -> Estimate:
        """The measure when everything is resampled: the network answers to an input that has nothing to do with the one asked."""
        return self._mean(self.random_values)

    @property
    def recovered(self) -> Estimate:
        """The share recovered, (scrubbed - random) / (whole - random); unknown where the whole network does not beat random."""
        part, whole, none = self.scrubbed_values, self.whole_values, self.random_values
        if whole.mean() == none.mean():
            return Estimate(np.nan, -np.inf, np.inf)
        if self.measure in BITS:
            return ratio_of_rates(part, whole, none, self.confidence)
        return ratio(part - none, whole - none, self.confidence)

    @property
    def exchanged(self) -> float:
        """The share of draws of nodes with variables that are another input than their reader's; NaN where none has any.

        Where it is small, inputs seldom agree with others, and little is tested.
        """
        kinds = alike(self.inputs, rows_of(self.inputs))[self.drawn]
        moved = [kinds[i] != kinds[draw.of] for i, draw in enumerate(self.plan.draws) if draw.variables]
        return float(np.mean(moved)) if moved else np.nan

    def tree(self, row: int) -> "nx.DiGraph[Copied]":
        """The inputs on which nodes were run for one of the inputs, from the output to what is read.

        Nodes are `(node, copy)`; what a node reads that is left out is one for each input. They have the `nodes` that they
        stand for, their `input`, the `values` of the variables on which it agrees with the input of what reads them, whether they
        are `kept`, and all of this as `label`. What several read is there once.

        Raises:
            ClaimError: when there is no such row.
        """
        if not isinstance(row, Integral) or not 0 <= row < self.drawn.shape[1]:
            raise ClaimError(f"there are {self.drawn.shape[1]} inputs, counted from 0; given {row!r}")
        return shown(self.plan, self.inputs, self.values, self.drawn[:, row])

    def text(self, row: int) -> str:
        """The tree of one of the inputs, to read."""
        return "\n".join(nx.generate_network_text(self.tree(row)))

    def _mean(self, values: Column) -> Estimate:
        return rate(values, self.confidence) if self.measure in BITS else mean(values, self.confidence)


def scrub(
    algorithm: CausalModel,
    circuit: Circuit,
    correspondence: Correspondence,
    *,
    inputs: Setting | None = None,
    n: int = 1000,
    measure: Measure = "accuracy",
    others: Sharing = "node",
    confidence: float = 0.99,
    seed: int = 0,
) -> Scrubbing:
    """Test the hypothesis that a circuit's nodes carry an algorithm's variables, by causal scrubbing.

    From the output on, each node that has a variable is run on another input, drawn from those on which the variable has the
    value that it has for the input of what reads it. This is done for each path to the output by itself, so a node that two read
    is run on two inputs. Edges that are left out carry what they do for any input. If the hypothesis is true, none of this
    matters. False ones may pass as well: where effects cancel, and where they say too little (Scheurer et al., 2023).

    Args:
        algorithm: gives the variables, and the right answers.
        circuit: the circuit.
        correspondence: for nodes of the circuit the variable, or variables, that they carry, and for edges what flows along that
            one; what a head reads is a node, as `a0.h1<q>`. What is not named is run on the input of what reads it.
        inputs: a batch to draw from; None are all that the algorithm has, or 65,536 drawn of more.
        n: how many are asked, drawn independently.
        measure: of what is kept of the behaviour; see `Behaviour`.
        others: what has one random input for the edges that are left out: each "edge", each "node" that reads them, along each
            path, or the whole "run".
        confidence: of each bound.
        seed: of all that is drawn.

    Raises:
        ClaimError: listing all that is wrong: nodes and variables that are not there, nodes outside the circuit, variables that
            tell all inputs apart, a tree that is too large; and where the measure is no finite number.
    """
    problems = [*not_circuit(circuit), *not_counts(n=n), *not_confidence(confidence)]
    if not isinstance(algorithm, CausalModel):
        problems.append(f"algorithm must be a causal model; given {algorithm!r}")
    elif len(algorithm.outputs) != 1:
        problems.append(f"the algorithm must have one output, the network's answer; it has {', '.join(algorithm.outputs)}")
    if others not in get_args(Sharing):
        problems.append(unknown("way of sharing others", others, get_args(Sharing)))
    if measure not in get_args(Measure):
        problems.append(unknown("measure", measure, get_args(Measure)))
    if inputs is not None and not isinstance(inputs, Mapping):
        problems.append(f"inputs must be a batch, an array for each input by its name, or None; given {short(inputs)}")
    names = _names(algorithm, circuit, correspondence, problems)
    check(problems[:_MANY], ClaimError, "causal scrubbing")
    plan = treeified(circuit, names, others)
    drawn_from = _all_inputs(algorithm, seed) if inputs is None else batched(inputs)[0]
    variables = dict.fromkeys([v for named in names.values() for v in named] + [*algorithm.outputs])
    values = algorithm.solve(drawn_from, only=[*variables])
    own, random = stream(seed, "scrubbing", "inputs").integers(rows_of(drawn_from), size=(2, n))
    kinds = alike(drawn_from, rows_of(drawn_from))
    drawn = drawn_rows(plan.draws, values, own, kinds, stream(seed, "scrubbing", "resampling"))
    runs = Runs.of(circuit.graph, take(drawn_from, own), take(drawn_from, random))
    answers = runs.readout.choices(values[algorithm.outputs[0]][own])
    behaviour = Behaviour.of(runs, measure, answers=answers)
    scrubbed = of_scores(behaviour, scrubbed_scores(runs, plan, drawn_from, drawn))
    measured = scrubbed, of_whole(behaviour), of_circuits(runs, behaviour, [()])[0]
    return Scrubbing(circuit, names, measure, confidence, *measured, drawn_from, values, drawn, plan)


def _all_inputs(algorithm: CausalModel, seed: int) -> Batch:
    """The algorithm's inputs: all, or if these are too many as many drawn of them as there is room for."""
    every = Inputs(algorithm)
    if every.finite and rows_of(every.listed) <= _LISTED:
        return algorithm.labels(every.listed)
    return algorithm.labels(every.sample(stream(seed, "scrubbing", "all"), _LISTED))


def _names(algorithm: CausalModel, circuit: Circuit, correspondence: Correspondence, problems: list[str]) -> Names:
    """The correspondence in one form; what is wrong with it is added to `problems`."""
    if not isinstance(correspondence, Mapping):
        problems.append(f"the correspondence is a mapping from nodes or edges to variables; given {correspondence!r}")
        return {}
    if not isinstance(algorithm, CausalModel) or not isinstance(circuit, Circuit):
        return {}  # told already
    found: dict[Any, tuple[str, ...]] = {}
    for key, named in correspondence.items():
        place = tuple(key.split("->")) if isinstance(key, str) and "->" in key else key
        problems += [f"{key!r} is given twice"] if place in found else _misplaced(circuit, place)
        if not isinstance(named, (str, tuple, list)) or not named:
            problems.append(f"{key!r} must be given a variable or a list of variables; given {named!r}")
            continue
        found[place] = (named,) if isinstance(named, str) else tuple(named)
        problems += [unknown("variable", v, algorithm.graph) for v in found[place] if v not in algorithm.graph]
    return found


def _misplaced(circuit: Circuit, place: Any) -> list[str]:
    """Why a node or an edge cannot carry a variable, if it cannot."""
    edge = isinstance(place, tuple)
    kind, told = ("edge", "->".join(map(str, place))) if edge else ("node", str(place))
    every: list[Any] = list(circuit.graph.edges if edge else circuit.graph)
    if place not in every:
        return [unknown(kind, told, ["->".join(e) for e in every] if edge else every)]
    if edge and circuit.graph.edges[place].get("internal"):
        return [f"the edge {told} is inside a node; give the variable to the node {place[0]}"]
    nodes = set(circuit.nodes)
    if place in nodes or (edge and place in circuit.edges and nodes.issuperset(place)):
        return []
    return [
        f"the {kind} {told} is outside the circuit, or on no kept path to the output: it is run on any input, whatever it carries"
    ]
