"""Proving an interchange claim."""

import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import singledispatch
from pathlib import Path

from commute.alignments.alignment import Alignment
from commute.causal.batches import Batch
from commute.causal.model import CausalModel
from commute.models.network import Network
from commute.proofs.programs.split import split
from commute.proofs.proving.asked import Asked, Method, Variables
from commute.proofs.proving.box_refinement import BoxGrowth
from commute.proofs.proving.boxes import Near, boxed, settings_of
from commute.proofs.proving.budget import Allowance, Budget
from commute.proofs.proving.certificate import BoxProof, Certificate, Proof, certificate_of
from commute.proofs.proving.growing import keep, kept, tree_of
from commute.proofs.proving.hashing import digest, digest_of_statement
from commute.proofs.proving.posing import posed
from commute.proofs.proving.refinement import Growth, enumerate_pairs, refine
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tree import COUNTED
from commute.proofs.proving.writing import Kept, inputs
from commute.runs.events import OnEvent, ProofAdvanced, ignore

_EVERY = 20.0  # seconds between writing what was proved so far


@singledispatch
def prove(
    algorithm: CausalModel,
    /,
    network: Network,
    alignment: Alignment,
    *,
    variables: Variables | None = None,
    method: Method = "auto",
    within: float | None = None,
    near: Near | None = None,
    budget: Budget | str | float | None = None,
    executor: Executor | None = None,
    runs: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> Certificate:
    """Bounds on interchange intervention accuracy over every base and every source, proved.

    Given a `Circuit` and a model of its inputs, bounds on the share of answers that stay with it: see
    `cm.circuits.prove_circuit`.

    The network after an interchange is turned into a program, of which what depends on one input is computed once an input. Pairs
    are decided by bounds that hold for the stored weights and for every way of rounding them, on ever smaller sets of bases and
    sources; or one by one, in exact arithmetic where floats do not tell.

    Args:
        algorithm: with one output, and finite inputs unless `near` says which are meant.
        network: whose answer is the largest of its scores.
        alignment: where the variables are.
        variables: one set of them that is interchanged (`["left"]`), or several sets; None is every set, as `verify` takes them.
        method: "refinement" divides cells that bounds do not decide; "enumeration" evaluates every pair; "auto" refines, and
            evaluates what is left where bounds decide little and there are at most 2**31 pairs left.
        within: prove it of all numbers that differ by at most so much from those that the network has of each base and source,
            such as what `encode` returns or embeddings; IIA is then a share of their volume.
        near: with `within`, the inputs that are bases and sources, as columns or one by one, in place of all there are; they may
            be continuous. The algorithm's answer for these inputs is taken to be right for all numbers near theirs.
        budget: seconds, "10m", "50000 bounds" or a `Budget`, of all sets together, in equal shares; None: until no cell is open.
            Even then pairs can stay undecided: exact ties, and near ties beyond 2**14 evaluations in exact arithmetic, which is
            what a large cell has whose pairs are evaluated, or some hundred small ones.
        executor: of `concurrent.futures`, whose workers bound cells.
        runs: a folder in which the proof is kept, and continued where it was cut off.
        on_event: is told of progress.

    Raises:
        ClaimError: listing everything that does not fit.
        NetworkError: naming an operation of the network that has no bounds; when the network is no fixed program.
    """
    asked = Asked(algorithm, network, alignment, variables, method, within, near, budget, executor, runs, on_event)
    settings = None if near is None else algorithm.labels(settings_of(algorithm, near))
    inputs(algorithm, [v for own in asked.sets for v in own], settings, Kept())  # or a proof would end in that error
    allowed = Allowance(Budget.of(budget))
    proofs: list[Proof | BoxProof] = []
    for i, own in enumerate(asked.sets):
        share = allowed.share(len(asked.sets) - i)  # what one set leaves of its share is for those after it
        proof, spent = _of_pairs(asked, own, share) if within is None else _of_boxes(asked, own, within, settings, share)
        proofs.append(proof)
        allowed.spent += spent
    return certificate_of(algorithm, network, alignment, proofs, settings)


def _of_pairs(asked: Asked, variables: tuple[str, ...], budget: Budget) -> tuple[Proof, int]:
    """The proof about one set of variables, continued where it was kept, and what of the budget's bounds it took."""
    statement = posed(asked.algorithm, asked.network, asked.alignment, variables)
    path = None if asked.runs is None else _file(Path(asked.runs), statement, asked.method)
    growth = (path and kept(statement, path)) or Growth.begun(statement)
    before, tell = growth.done.spent, _teller(path, asked.on_event)
    if asked.method == "enumeration":
        enumerate_pairs(growth, budget=budget, on_round=tell)
    else:
        refine(growth, budget=budget, executor=asked.executor, on_round=tell, counting=asked.method == "auto")
    if path is not None:
        keep(growth, path)
    sides = split(statement.patched.program).sides
    evaluated = all(e.kind == COUNTED for e in growth.entries.values())
    proof = Proof(statement, growth.outcome(), tree_of(growth), "enumeration" if evaluated else "refinement", sides)
    return proof, growth.done.spent - before


def _of_boxes(
    asked: Asked, variables: tuple[str, ...], within: float, settings: Batch | None, budget: Budget
) -> tuple[BoxProof, int]:
    """The proof about all numbers near those of the inputs, and what of the budget's bounds it took."""

    def tell(growth: BoxGrowth) -> None:
        found = growth.outcome()
        asked.on_event(ProofAdvanced(variables, float(found.lower), float(found.upper), found.bounds, found.evaluated))

    claimed = asked.algorithm, asked.network, asked.alignment
    statement, outcome, tree = boxed(*claimed, variables, within=within, near=settings, budget=budget, on_round=tell)
    choices = None if settings is None else statement.choices
    return BoxProof(statement.patched, statement.entries, within, outcome, tree, choices), outcome.bounds


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


def _file(runs: Path, statement: Statement, method: Method) -> Path:
    """Where a proof is kept: named by what it depends on."""
    return runs / f"proof-{digest([digest_of_statement(statement), method])[:16]}.safetensors"
