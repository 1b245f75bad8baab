"""Causal Abstraction Error (2607.00267), by causal-abstraction-eval 1.1.0, of a claim about a network.

`pip install --no-deps causal-abstraction-eval==1.1.0` (and tqdm, joblib). The system has a micro-variable for each input, for the
features of each aligned variable, for each direction of what is not aligned (its Φ, unless the claim leaves no rest), and for the
answer. Values are those of inputs that are known to have them: grounding draws one of the features that they give, abstracting
takes the value of the nearest.
"""

import io
import logging
from collections.abc import Mapping
from contextlib import redirect_stderr
from typing import Any

import numpy as np
import torch
from torch import Tensor

import commute as cm
from benchmarks.claims_of_organisms import Case
from commute.causal.batches import Column
from commute.causal.domains import Finite
from commute.causal.inputs import Inputs
from commute.models.organisms.cases import tables_of

try:
    import causal_abstraction as ca
    from causal_abstraction.models.low_level import LowLevelModel
except ImportError:
    ca = None  # type: ignore[assignment]
    LowLevelModel = object  # type: ignore[assignment,misc]

THERE = ca is not None
SAMPLES = 1000
_BATCH = 40  # samples in which the same variables are set


def errors(case: Case, seed: int) -> tuple[float, float]:
    """CAE top-down with its test of what is not mapped, and without."""
    system = _System(case)
    names = [*case.algorithm.inputs, *case.alignment, *case.algorithm.outputs]
    micro = [ca.Variable(v) for v in (*case.algorithm.inputs, *case.algorithm.outputs)]
    micro += [ca.Variable(v, shape=(system.vectors[v].shape[1],)) for v in case.alignment]
    micro += [ca.Variable(r) for r in system.rest]
    logging.getLogger("causal_abstraction").setLevel(logging.ERROR)
    cells = ca.CoarseGrainingMap(ca.MicroVariableSchema(micro), {v: [v] for v in names})
    config = ca.EvaluationConfig(metric="hard", logging_level=logging.ERROR, seed=seed)
    values = _values(cells, system)
    engine = ca.EvaluationEngine(_high_level(case.algorithm, system), system, values, cells, config)
    tasks = [
        ca.StandardTasks.score(engine.builder, name=name, include_faithfulness=faithful, sampler=ca.TopDownSampler(values))
        for name, faithful in (("CAE_down", True), ("CAE_down_nf", False))
    ]
    with redirect_stderr(io.StringIO()):  # of its progress bars
        done = engine.run_tasks(
            tasks,
            n_samples=SAMPLES,
            batch_size=_BATCH,
            max_interventions=len(case.alignment) + 1,
            intervention_domain=list(case.alignment),
        )
    return float(done["CAE_down"].score), float(done["CAE_down_nf"].score)


class _System(LowLevelModel):  # type: ignore[misc]
    """The network with features in place of vectors.

    Attributes:
        case: the claim.
        vectors: what each aligned variable's features hold for every input, [inputs, dims].
        codes: the value that every input has, of every variable.
        rest: for each direction of what is not aligned its feature.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        inputs = Inputs(case.algorithm).listed
        self.codes = case.algorithm.evaluate(inputs, {}, len(next(iter(inputs.values()))))
        held = case.network.activations(case.algorithm.labels(inputs), [case.alignment[v] for v in case.alignment])
        self.vectors = {v: held[case.alignment[v]].double().numpy() for v in case.alignment}
        self.rest: dict[str, cm.Feature] = {}
        for site in case.alignment.sites:
            taken = [_directions(case.alignment[v]) for v in case.alignment if case.alignment[v].site == site]
            used = sum(x.shape[1] for x in taken)
            left = torch.linalg.qr(torch.cat(taken, 1), mode="complete").Q[:, used:].contiguous()
            view = cm.Orthogonal(left) if left.shape[1] else None
            self.rest |= {f"rest {i} of {site}": cm.Feature(site, view, (i,)) for i in range(left.shape[1]) if view}

    def forward_with_interventions(self, input_state: Any, interventions: Mapping[str, Any]) -> Any:
        """Run the network on the inputs given, with features set."""
        del input_state
        model, network, alignment = self.case.algorithm, self.case.network, self.case.alignment
        codes = {v: np.asarray(interventions[v]).reshape(-1).astype(np.int64) for v in model.inputs}
        inputs = model.labels(codes)
        do: dict[Any, Tensor] = {alignment[v]: _tensor(interventions[v]) for v in alignment if v in interventions}
        do |= {feature: _tensor(interventions[r]) for r, feature in self.rest.items() if r in interventions}
        held = network.activations(inputs, [alignment[v] for v in alignment], do)
        found: dict[str, Any] = {v: x.astype(float)[:, None] for v, x in codes.items()}
        found |= {v: held[alignment[v]].double().numpy() for v in alignment}
        (output,) = model.outputs
        found[output] = _domain(model, output).encode(np.asarray(network.run(inputs, do))).astype(float)[:, None]
        return ca.SystemState(values=found)


def _values(cells: Any, system: _System) -> Any:
    class Values(ca.ValueMap):  # type: ignore[misc,name-defined]
        def ground(self, name: str, label: Any, rng: np.random.Generator | None = None) -> Column:
            if name not in system.vectors:
                return np.array([float(label)])
            rows = np.flatnonzero(system.codes[name] == int(label))
            return np.asarray(system.vectors[name][(rng or np.random.default_rng()).choice(rows)])

        def abstract(self, name: str, micro: Column) -> int:
            if name not in system.vectors:
                return int(np.asarray(micro).reshape(-1)[0])
            nearest = ((system.vectors[name] - micro) ** 2).sum(1).argmin()
            return int(system.codes[name][nearest])

    return Values(cells, {})


def _high_level(model: cm.CausalModel, system: _System) -> Any:
    graph = ca.CausalGraph()
    tables = tables_of(model)
    for v in model.inputs:
        graph.add_variable(v, equation=lambda: None, distribution=_evenly(range(len(_domain(model, v)))))
    for v in model.equations:
        parents, codes = tables[v]
        occurring = np.unique(system.codes[v]).tolist()
        graph.add_variable(v, equation=_looked_up(parents, codes), parents=list(parents), distribution=_evenly(occurring))
    return graph


def _evenly(values: Any) -> dict[int, float]:
    return dict.fromkeys(values, 1 / len(values))


def _looked_up(parents: tuple[str, ...], codes: Column) -> Any:
    return lambda **given: int(codes[tuple(int(given[p]) for p in parents)])


def _directions(feature: cm.Feature) -> Tensor:
    view = feature.featurizer
    if not isinstance(view, cm.Orthogonal):
        raise TypeError(f"the claim's features must be along directions; given {view!r}")
    return view.directions if feature.dims is None else view.directions[:, list(feature.dims)]


def _domain(model: cm.CausalModel, variable: str) -> Finite:
    domain = model.domain(variable)
    if not isinstance(domain, Finite):
        raise TypeError(f"{variable!r} of {model.name!r} is not finite")
    return domain


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values)).float()
