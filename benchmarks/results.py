"""What was found of each claim: how true it is, and which rules accept it."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter

import torch

from benchmarks import cae
from benchmarks.audit import audit
from benchmarks.claims_of_organisms import cases_of
from benchmarks.rules import AT_LEAST, ours, plain
from benchmarks.specs import Spec

FALSE, TRUE = 0.93, 0.97  # worst slices below which a claim counts as false, and from which it counts as true
CLASSES = ("false", "between", "true but noisy", "exactly true")
CAE_AT_MOST = 0.05


@dataclass(frozen=True)
class Options:
    """How claims are judged.

    Attributes:
        pairs: for each set of variables.
        cae_every: organisms, of which one is judged by CAE as well; 0 for none.
    """

    pairs: int
    cae_every: int


@dataclass(frozen=True)
class Result:
    """One claim.

    Attributes:
        organism: its number.
        what: the organism's algorithm and disguise.
        kind: of the claim.
        worst: rate of its worst slice, over uniform pairs and over balanced ones, by the audit.
        where: that slice.
        status: of the verdict.
        reason: the first it gives.
        iia: whether IIA accepts it.
        strict: whether the worst of IIA, each variable's on changed pairs and the joint one does.
        cae: whether CAE does, with its test of what is not mapped and without; None where that was not asked.
        seconds: that the audit and the verdict took.
    """

    organism: int
    what: str
    kind: str
    worst: tuple[float, float]
    where: str
    status: str
    reason: str
    iia: bool
    strict: bool
    cae: tuple[bool, bool] | None
    seconds: tuple[float, float]

    @property
    def true(self) -> str:
        """How true the claim is, one of `CLASSES`: as uniform and balanced pairs both say, else between."""
        low, high = min(self.worst), max(self.worst)
        return CLASSES[(high >= FALSE) + (low >= TRUE) + (low == 1)]


def results(specs: Sequence[Spec], options: Options, workers: int) -> list[Result]:
    """All claims about all organisms, by processes of one thread each."""
    found: dict[int, list[Result]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        waiting = {pool.submit(_of_one, spec, options): spec for spec in specs}
        for done in as_completed(waiting):
            found[waiting[done].index] = done.result()
            print(f"\r{len(found)} of {len(specs)} organisms", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [r for index in sorted(found) for r in found[index]]


def _of_one(spec: Spec, options: Options) -> list[Result]:
    return list(_judged(spec, options))


def _judged(spec: Spec, options: Options) -> Iterator[Result]:
    warnings.simplefilter("ignore")
    by_cae = cae.THERE and options.cae_every > 0 and spec.index % options.cae_every == 0
    for case in cases_of(spec.calibrated()):
        start = perf_counter()
        truth = audit(case.algorithm, case.network, case.alignment)
        seconds = perf_counter() - start
        verdict, iia = ours(case, options.pairs, spec.seed), plain(case, options.pairs, spec.seed)
        errors = cae.errors(case, spec.seed) if by_cae else None
        yield Result(
            spec.index,
            f"{spec.algorithm.name}, {spec.inputs} inputs, {spec.disguise}",
            case.kind,
            (truth.worst, truth.balanced),
            truth.where,
            verdict.status,
            verdict.reason,
            iia=iia.iia >= AT_LEAST,
            strict=iia.worst >= AT_LEAST,
            cae=errors and (errors[0] <= CAE_AT_MOST, errors[1] <= CAE_AT_MOST),
            seconds=(seconds, verdict.seconds),
        )


def _one_thread() -> None:
    torch.set_num_threads(1)
