"""Proving an interchange claim."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Literal, get_args

from commute.alignments.alignment import Alignment
from commute.alignments.variable_sets import variable_sets
from commute.causal.model import CausalModel
from commute.errors import ClaimError, check, unknown
from commute.models.network import Network
from commute.proofs.programs.split import split
from commute.proofs.proving.box_refinement import BoxGrowth
from commute.proofs.proving.boxes import boxed
from commute.proofs.proving.budget import Budget
from commute.proofs.proving.certificate import BoxProof, Certificate, Proof, certificate_of
from commute.proofs.proving.growing import keep, kept, tree_of
from commute.proofs.proving.hashing import digest, digest_of_alignment, digest_of_weights
from commute.proofs.proving.posing import posed
from commute.proofs.proving.refinement import Growth, enumerate_pairs, refine
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tree import COUNTED
from commute.runs.events import OnEvent, ProofAdvanced, ignore

Method = Literal["auto", "enumeration", "refinement"]
METHODS: tuple[Method, ...] = get_args(Method)

_EVERY = 20.0  # seconds between writing what was proved so far


def prove(
    algorithm: CausalModel,
    network: Network,
    alignment: Alignment,
    *,
    variables: Sequence[str] | Sequence[Sequence[str]] | None = None,
    method: Method = "auto",
    within: float | None = None,
    budget: Budget | str | float | None = None,
    executor: Executor | None = None,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> Certificate:
    """Bounds on interchange intervention accuracy over every base and every source, proved.

    The network after an interchange is turned into a program, of which what depends on one input is computed once an input. Pairs
    are decided by bounds that hold for the stored weights and for every way of rounding them, on ever smaller sets of bases and
    sources; or one by one, in exact arithmetic where floats do not tell.

    Args:
        algorithm: with finite inputs and one output.
        network: whose answer is the largest of its scores.
        alignment: where the variables are.
        variables: one set of them that is interchanged (`["left"]`), or several sets; None is every set, as `verify` takes them.
        method: "refinement" divides cells that bounds do not decide; "enumeration" evaluates every pair; "auto" refines, and
            evaluates what is left where bounds decide little and there are at most 2**31 pairs left.
        within: prove it of all numbers that differ by at most so much from those that the network has of each base and source,
            such as what `encode` returns or embeddings; IIA is then a share of their volume.
        budget: seconds, "10m", "50000 bounds" or a `Budget`, of all sets together, in equal shares; None is until all is decided.
        executor: of `concurrent.futures`, whose workers bound cells.
        runs: a folder in which the proof is kept, and continued where it was cut off.
        on_event: is told of progress.

    Raises:
        ClaimError: listing everything that does not fit.
        NetworkError: naming an operation of the network that has no bounds; when the network is no fixed program.
    """
    allowed = Budget.of(budget)
    sets = _sets(alignment, variables)
    if method not in METHODS:
        raise ClaimError(unknown("method", method, METHODS))
    if executor is not None and not isinstance(executor, Executor):
        raise ClaimError(f"executor must be a concurrent.futures.Executor or None; given {executor!r}")
    if within is not None and (executor is not None or runs is not None or method == "enumeration"):
        raise ClaimError("a proof about boxes (within=) is by refinement in this process; leave out executor, runs and method")
    claimed = algorithm, network, alignment
    began = time.monotonic()
    proofs: list[Proof | BoxProof] = []
    for i, own in enumerate(sets):
        share = 1 / (len(sets) - i)  # what one set leaves of its share is for those after it
        seconds = (allowed.seconds - (time.monotonic() - began)) * share
        left = Budget(max(seconds, 1e-3), max(allowed.bounds / len(sets), 1))
        path = None if runs is None else _file(Path(runs), claimed, own, method)
        if within is not None:
            proofs.append(_boxes(claimed, own, within, left, on_event))
        else:
            proofs.append(_proved(posed(*claimed, own), method, left, executor, path, on_event))
    return certificate_of(algorithm, network, alignment, proofs)


def _sets(alignment: Alignment, variables: Sequence[str] | Sequence[Sequence[str]] | None) -> list[tuple[str, ...]]:
    if variables is None:
        return variable_sets(list(alignment))
    if isinstance(variables, str) or not isinstance(variables, Sequence) or not variables:
        raise ClaimError(f'variables are a set such as ["left"], or a list of such sets; given {variables!r}')
    several = [tuple(v) for v in variables if not isinstance(v, str)]
    sets = several or [tuple(v for v in variables if isinstance(v, str))]
    if several and len(several) < len(variables):
        raise ClaimError(f"variables are one set or a list of sets, not both; given {variables!r}")
    problems = [unknown("aligned variable", v, alignment) for own in sets for v in own if v not in alignment]
    check(problems, ClaimError, "the proof")
    return sets


def _proved(
    statement: Statement,
    method: Method,
    budget: Budget,
    executor: Executor | None,
    path: Path | None,
    on_event: OnEvent,
) -> Proof:
    """The proof about one set of variables, continued where it was kept."""
    growth = (path and kept(statement, path)) or Growth.begun(statement)
    tell = _teller(path, on_event)
    if method == "enumeration":
        enumerate_pairs(growth, budget=budget, on_round=tell)
    else:
        refine(growth, budget=budget, executor=executor, on_round=tell, counting=method == "auto")
    if path is not None:
        keep(growth, path)
    sides = split(statement.patched.program).sides
    evaluated = all(e.kind == COUNTED for e in growth.entries.values())
    return Proof(statement, growth.outcome(), tree_of(growth), "enumeration" if evaluated else "refinement", sides)


def _boxes(
    claimed: tuple[CausalModel, Network, Alignment],
    variables: tuple[str, ...],
    within: float,
    budget: Budget,
    on_event: OnEvent,
) -> BoxProof:
    """The proof about all numbers near those of the inputs."""

    def tell(growth: BoxGrowth) -> None:
        found = growth.outcome()
        on_event(ProofAdvanced(variables, float(found.lower), float(found.upper), found.bounds, found.evaluated))

    statement, outcome, tree = boxed(*claimed, variables, within=within, budget=budget, on_round=tell)
    return BoxProof(statement.patched, statement.entries, within, outcome, tree)


def _teller(path: Path | None, on_event: OnEvent) -> Callable[[Growth], None]:
    """What is done after each round: progress is told, and what is proved so far kept now and then."""
    written = [time.monotonic()]

    def tell(growth: Growth) -> None:
        done, total = growth.done, growth.statement.total
        lower, upper = float(done.right / total), float(1 - done.wrong / total)
        on_event(ProofAdvanced(growth.statement.variables, lower, upper, done.bounds, done.evaluated))
        if path is not None and time.monotonic() - written[0] > _EVERY:
            keep(growth, path)
            written[0] = time.monotonic()

    return tell


def _file(runs: Path, claimed: tuple[CausalModel, Network, Alignment], variables: Sequence[str], method: Method) -> Path:
    """Where a proof is kept: named by what it depends on."""
    algorithm, network, alignment = claimed
    about = [digest_of_weights(network.module), digest_of_alignment(alignment), algorithm.to_json(), list(variables), method]
    return runs / f"proof-{digest(about)[:16]}.safetensors"
