"""Verdicts on claims about networks of known truth, against the rules in use: `python -m benchmarks.verdict [--quick]`.

Truth is decided by an audit that goes through every base and source (`benchmarks.audit`). What is claimed is that every slice is
at least .95. A claim is false where its worst slice is below .93, and true from .97 on, by uniform pairs and by balanced ones.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks import battery_cost, cae
from benchmarks.bars import Figure, at_least, report
from benchmarks.claims_of_organisms import ALL, SOME
from benchmarks.results import CLASSES, Options, Result, results
from benchmarks.rules import REFUSED
from benchmarks.specs import specs

ORGANISMS = 300
FALSE_CLAIMS = 6  # of each organism
QUICK = 24
_STATUSES = ("holds", "refuted", "inconclusive", REFUSED)


def main() -> int:
    """Judge the claims, show the confusion matrix, and hold the figures against their bars."""
    given = _arguments()
    start = time.perf_counter()
    chosen = specs()[: QUICK if given.quick else given.organisms]
    found = results(chosen, Options(given.pairs, 0 if given.quick else given.cae_every), given.workers)
    _show(found, given.pairs, time.perf_counter() - start)
    if given.save:
        given.save.write_text("".join(json.dumps({**asdict(r), "true": r.true}) + "\n" for r in found))
    told = _figures(found, quick=given.quick)
    if not given.no_cost:
        torch.set_num_threads(1)
        told += battery_cost.figures()
    return report(told)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__)
    parser.add_argument("--organisms", type=int, metavar="N", help="the first N; all if not given")
    parser.add_argument("--pairs", type=int, default=5000, help="for each set of variables, of every rule (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} organisms, without CAE")
    parser.add_argument(
        "--cae-every", type=int, default=5, metavar="N", help="CAE of every Nth organism; 0 for none (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write each claim as a line of JSON")
    parser.add_argument("--no-cost", action="store_true", help="leave the cost of the battery out")
    return parser.parse_args()


def _show(found: Sequence[Result], pairs: int, seconds: float) -> None:
    organisms = len({r.organism for r in found})
    audited, judged = (sum(r.seconds[i] for r in found) for i in (0, 1))
    print(f"{len(found)} claims about {organisms} organisms, {pairs} pairs for each set of variables: {seconds:.0f} s")
    print(f"of all processes together: audits {audited:.0f} s, verdicts {judged:.0f} s ({judged / len(found):.2f} s each)")
    if not cae.THERE:
        print("causal-abstraction-eval is not installed, so that its column is empty; see benchmarks/cae.py")
    head = [*_STATUSES, "IIA", "worst", "CAE", "CAE without Φ"]
    print(f"\n{'kind of claim':36} {'truth':15} {'claims':>6}  " + " ".join(f"{h:>{_wide(h)}}" for h in head))
    kinds = dict.fromkeys([ALL, SOME, *sorted(r.kind for r in found)])
    for kind, true in [*((k, t) for k in kinds for t in CLASSES[::-1]), *((_EVERY, t) for t in CLASSES[::-1])]:
        rows = [r for r in found if r.true == true and kind in (r.kind, _EVERY)]
        if rows:
            print(
                f"{kind:36} {true:15} {len(rows):6}  "
                + " ".join(f"{x:>{_wide(h)}}" for h, x in zip(head, _cells(rows), strict=True))
            )
    wrong = [r for r in found if (r.status == "holds") != (r.true in CLASSES[2:]) and r.true != CLASSES[1]]
    print(f"\n{len(wrong)} claims that hold and are false, or that do not and are true:")
    for r in wrong:
        print(
            f"  {r.organism:3} {r.what}: {r.kind}: {r.status}, but the worst slice, {r.where}, is {min(r.worst):.4f}; {r.reason}"
        )


_EVERY = "all kinds"


def _wide(head: str) -> int:
    return max(len(head), 7)


def _cells(rows: Sequence[Result]) -> list[str]:
    seen = Counter(r.status for r in rows)
    asked = [r.cae for r in rows if r.cae is not None]
    by_cae = [f"{sum(a[i] for a in asked)}/{len(asked)}" if asked else "–" for i in (0, 1)]
    return [*(str(seen[s]) for s in _STATUSES), str(sum(r.iia for r in rows)), str(sum(r.strict for r in rows)), *by_cae]


def _figures(found: Sequence[Result], *, quick: bool) -> list[Figure]:
    false, _, noisy, exact = ([r for r in found if r.true == true] for true in CLASSES)
    rules: dict[str, Callable[[Result], bool]] = {
        "IIA": lambda r: r.iia,
        "worst of IIA, changed pairs and joint": lambda r: r.strict,
        "CAE": lambda r: bool(r.cae and r.cae[0]),
        "CAE without Φ": lambda r: bool(r.cae and r.cae[1]),
    }
    print()
    for name, accepts in rules.items():
        asked = [[r for r in rows if r.cae is not None or not name.startswith("CAE")] for rows in (false, noisy, exact)]
        if all(asked):
            f, n, e = (_percent(rows, accepts) for rows in asked)
            print(f"     {name} accepts {f:.1f}% of {len(asked[0])} false, {n:.1f}% of noisy and {e:.1f}% of exactly true claims")
    told = [
        Figure(f"false claims that hold, of {len(false)}", _percent(false, _holds), 1, "%"),
        at_least(f"exactly true claims that hold, of {len(exact)}", _percent(exact, _holds), 97, "%"),
        at_least(f"true but noisy claims that hold, of {len(noisy)}", _percent(noisy, _holds), 90, "%"),
    ]
    each = Counter(r.organism for r in found if r.kind not in (ALL, SOME))
    told.append(at_least("claims of false kinds about each organism, fewest", min(each.values()), FALSE_CLAIMS, "claims"))
    return told if quick else [*told, at_least("organisms", len(each), ORGANISMS, "organisms")]


def _holds(result: Result) -> bool:
    return result.status == "holds"


def _percent(rows: Sequence[Result], accepts: Callable[[Result], bool]) -> float:
    return 100 * sum(map(accepts, rows)) / len(rows) if rows else float("nan")


if __name__ == "__main__":
    sys.exit(main())
