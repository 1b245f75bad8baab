"""Verdicts to tell: of each status, with everything that a battery can find."""

from dataclasses import replace

from commute.alignments.accuracy import Accuracy
from commute.alignments.binomial import Count
from commute.proofs.counterexample import Counterexample
from commute.proofs.evidence import Evidence
from commute.proofs.region import Region
from commute.proofs.shown import FittedDims, ItemCost, Proved, ProvedAt, SearchedSite, Variable
from commute.proofs.verdict import Verdict

BATTERY = ("no intervention", "interchange", "random subspace", "null space", "divergence", "rivals", "counterexample search")
COSTS = (ItemCost("no intervention", 1_000_000), ItemCost("interchange", 4_000_000), ItemCost("null space", 9_000_000))
RUN = {
    "schema": 1,
    "started": "2026-01-02T03:04:05+00:00",
    "finished": None,
    "claim": "equality",
    "file": "claims/equality.py",
    "parameters": {"dims": "8"},
    "device": "cpu",
    "dtype": "torch.float32",
    "seed": 3,
    "n": 4000,
    "hashes": {"algorithm": "a1" * 32, "network": "b2" * 32, "file": "c3" * 32},
    "git": {"commit": "d4" * 20, "dirty": True},
    "packages": {"commute": "0.1.0", "torch": "2.9.1"},
    "python": "3.12.1",
}


def graph(feature="hidden, 8 dims"):
    inputs = [Variable(v, "input", (), None) for v in "abcd"]
    inner = [Variable("left", "internal", ("a", "b"), feature), Variable("right", "internal", ("c", "d"), feature)]
    return (*inputs, *inner, Variable("same", "output", ("left", "right"), None))


def slice_of(variables, name, right, total=1000, *, kind="slice", at_least=0.95):
    count = Count(right, total)
    lower, upper = count.lower(0.999), count.upper(0.999)
    passed = True if lower >= at_least else False if upper < at_least else None
    return Evidence(kind, "statistical", name, variables, count, lower, upper, passed, f"what {name} means")


def control(variable, name, right, total=1000):
    count = Count(right, total)
    upper = count.upper(0.999)
    return Evidence(
        "control", "statistical", name, (variable,), count, count.lower(0.999), upper, upper < 0.95, f"how {name} is made"
    )


def diagnostic(name, says, *, warning=False, unit="", variables=("left",)):
    return Evidence("diagnostic", "statistical", name, variables, Count(30, 100), 0.2, 0.4, None, says, warning, unit)


def proofs():
    """One that is complete, with a wrong pair, and one that was cut off."""
    work = tuple(ProvedAt(done, done / 400, 1 - done / 40_000) for done in (1, 10, 100, 300))
    return (
        Proved(
            ("left",),
            256,
            250,
            6,
            2,
            (16, 16),
            1234,
            567,
            "base a=1, left from a=2",
            (*work, ProvedAt(1801, 250 / 256, 250 / 256)),
        ),
        Proved(("left", "right"), 4096, 3072, 0, 0, (16, 16, 16), 300, 0, work=work),
    )


def holds():
    evidence = [slice_of((), "no intervention", 1000)]
    for v in ("left", "right"):
        evidence += [slice_of((v,), name, 999) for name in ("changed", "unchanged")]
        evidence += [
            slice_of((v,), f"{x} → {y}", 250 - (x != y), 250, kind="transition")
            for x in ("False", "True")
            for y in ("False", "True")
        ]
        evidence += [control(v, "random subspace", 500), control(v, "re-initialised network", 610)]
        evidence.append(
            Evidence("control", "statistical", "permuted algorithm", (v,), None, 0.0, 1.0, None, "nothing to permute")
        )
    evidence += [slice_of(("left", "right"), name, 998) for name in ("changed", "unchanged")]
    evidence.append(slice_of(("left",), "values read from the feature", 990, kind="distinction"))
    evidence.append(diagnostic("null space", "the effect goes through what nothing reads", warning=True))
    evidence.append(diagnostic("divergence", "patched activations lie near natural ones", unit="standard deviations"))
    evidence += [
        Evidence("proof", "exact", "every pair", ("left",), Count(250, 256), 250 / 256, 250 / 256, True, "how it was proved"),
        Evidence("proof", "sound", "every pair", ("left", "right"), None, 0.75, 1.0, None, "how far it was proved"),
    ]
    accuracy = Accuracy(Count(5990, 6000), Count(2994, 3000), Count(2996, 3000), Count(3100, 6000), independent=True)
    sites = [(f"blocks.{i}.mlp", v, iia) for i, iia in enumerate((0.5, 0.75, 0.998)) for v in ("left", "right")]
    return Verdict(
        status="holds",
        reasons=("the worst slice, left: changed, has IIA at least 0.9909",),
        evidence=tuple(evidence),
        accuracy=accuracy,
        counterexample=None,
        algorithm="hierarchical equality",
        network="zoo network",
        variables=graph(),
        sites=tuple(SearchedSite(site, v, iia, iia - 0.01) for site, v, iia in sites),
        at_least=0.95,
        confidence=0.99,
        seed=3,
        candidates=12,
        curve=(FittedDims(1, 0.7), FittedDims(2, 0.91), FittedDims(8, 0.998)),
        costs=COSTS,
        method="DAS",
        battery=BATTERY,
        tried=2,
        proofs=proofs(),
    )


def refuted():
    """A claim that fails on one transition, with the region in which it holds."""
    told = holds()
    others = [e for e in told.evidence if e.variables != ("left",) or e.kind != "transition"]
    worse = slice_of(("left",), "True → False", 50, 250)
    example = Counterexample(
        "left: True → False",
        {"a": 1, "b": 1, "c": 0, "d": 2},
        {"left": {"a": 0, "b": 3, "c": 1, "d": 1}},
        {"same": True},
        False,
        matters=("base.a", "left.b"),
    )
    return replace(
        told,
        status="refuted",
        reasons=("left: True → False: IIA is at most 0.2851 (50 of 250 right), the claim is 0.95",),
        evidence=(*others, slice_of(("left",), "False → True", 250, 250), worse),
        counterexample=example,
        region=Region("left", ("base a = 1", "source left ≤ 3"), Count(990, 1000), Count(300, 1000), 0.98, 0.995),
    )


def abstracted():
    """A verdict about two causal models, for which nothing is sampled."""
    every = Evidence(
        "slice", "exact", "every setting", ("left",), Count(56, 64), 0.875, 0.875, False, "left differs in 8 settings"
    )
    example = Counterexample("left", {"x": 1, "y": 2}, {}, {"left": True}, {"left": False})
    return Verdict(
        status="refuted",
        reasons=("left differs in 8 settings",),
        evidence=(every,),
        accuracy=None,
        counterexample=example,
        algorithm="high",
        network="low",
        variables=(Variable("a", "input", (), "x, y"), Variable("left", "output", ("a",), "z")),
        sites=(),
        at_least=1.0,
        confidence=1.0,
        seed=0,
        stated="'high' is a constructive abstraction of 'low'",
    )


def long_names():
    """Names without a place to break, in everything that is named."""
    told, long = refuted(), "x" * 120
    variables = tuple(replace(v, feature=f"{long}.{v.name}" if v.feature else None) for v in told.variables)
    example = replace(told.counterexample, base={"a": long, "b": 1}, sources={"left": {"a": long + " " + long, "b": 2}})
    sites = tuple(replace(s, site=f"{s.site}.{long}") for s in told.sites)
    return replace(told, algorithm=long, network=long, reasons=(long,), variables=variables, counterexample=example, sites=sites)


def many_sites():
    """A search over 200 sites for 12 variables."""
    sites = [SearchedSite(f"layers.{i} at -1", f"carry_{j}", (i % 10) / 10, 0.1) for i in range(200) for j in range(12)]
    return replace(holds(), sites=tuple(sites))
