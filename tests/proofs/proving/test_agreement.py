"""Enumeration, refinement and the checker agree with each other and with interchanges carried out by the network."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode

import commute as cm
from commute.causal.batches import take
from commute.causal.inputs import Inputs
from commute.proofs.prove import prove
from commute.proofs.proving import refinement
from commute.proofs.proving.posing import posed
from commute.proofs.proving.statement import Statement
from commute.recheck import recheck

BITS = {v: cm.Finite(range(n)) for v, n in {"a": 2, "b": 2, "c": 2}.items()}


def model(seed: int) -> cm.CausalModel:
    """A random model of three inputs, two internal variables and an output."""
    rng = np.random.default_rng(seed)
    one, other = rng.integers(2, size=(2, 2)), rng.integers(2, size=(2, 2))
    last = rng.integers(2, size=(2, 2))
    mechanisms = {
        "x": lambda a, b: int(one[a, b]),
        "y": lambda b, c: int(other[b, c]),
        "out": lambda x, y: int(last[x, y]),
    }
    domains = dict.fromkeys(("x", "y", "out"), cm.Finite(range(2)))
    return cm.CausalModel(f"random {seed}", BITS, mechanisms, domains=domains)


def organism(seed: int) -> "cm.organisms.Organism":
    disguises = [{}, {"noise": 0.3}, {"leak": {"x": 0.4}}, {"backup": ["x", "y"]}, {"dead": ["x"]}, {"distractors": 3}]
    return cm.organisms.compile(model(seed // len(disguises)), seed=seed, **disguises[seed % len(disguises)])


def by_hand(algorithm: cm.CausalModel, network: cm.Network, alignment: cm.Alignment, variables: list[str]) -> Fraction:
    """IIA by interchanging every base and every source with the network itself."""
    every = algorithm.labels(Inputs(algorithm).listed)
    n = len(every["a"])
    places = np.unravel_index(np.arange(n ** (1 + len(variables))), (n,) * (1 + len(variables)))
    base, *sources = (take(every, x) for x in places)
    interchanged = {f: s for v, s in zip(variables, sources, strict=True) for f in alignment.parts(v)}
    expected = algorithm.interchange(base, dict(zip(variables, sources, strict=True)))["out"]
    return Fraction(int((network.interchange(base, interchanged) == expected).sum()), len(expected))


def posed_once(claimed, sets: list[list[str]]) -> dict[tuple[str, ...], Statement]:
    """The statement about each set, for both methods: posing takes most of the time.

    Half of that torch needs to make a mode of fake tensors for every operation that is traced, unless there is one.
    """
    with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
        return {tuple(own): posed(*claimed, own) for own in sets}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_all_agree_on_organisms(part: int, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 1)  # so that cells this small are bounded at all
    for seed in range(part * 26, part * 26 + 26):
        o = organism(seed)
        sets = [["x"], ["y"]] if seed % 5 else [["x"], ["x", "y"]]
        claimed = o.algorithm, o.network, o.alignment
        statements = posed_once(claimed, sets)
        monkeypatch.setattr("commute.proofs.prove.posed", lambda *given, of=statements: of[given[-1]])
        found = [prove(*claimed, variables=sets, method=m) for m in ("enumeration", "refinement")]
        for one, other, own in zip(found[0].outcomes, found[1].outcomes, sets, strict=True):
            assert (one.right, one.wrong, one.first) == (other.right, other.wrong, other.first)
            assert one.undecided == 0
            assert one.lower == by_hand(o.algorithm, o.network, o.alignment, own)
        for certificate in found:
            certificate.save(tmp_path / f"{seed}")
            report = recheck(tmp_path / f"{seed}")
            assert (report.lower, report.upper) == (certificate.lower, certificate.upper)


class Spike(nn.Module):
    """Copies "value > 4" to the answer, but for one base with one source, where two ReLU ramps meet in a spike."""

    def __init__(self, base: int, source: int) -> None:
        super().__init__()
        self.site = nn.Identity()
        self.hidden, self.relu = nn.Linear(2, 5), nn.ReLU()
        self.out = nn.Linear(5, 2)
        code = 64.0 * base + source  # one number tells base and source apart
        with torch.no_grad():
            self.hidden.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0], [64.0, 1.0], [64.0, 1.0], [64.0, 1.0]]))
            self.hidden.bias.copy_(torch.tensor([-4.0, -5.0, 0.5 - code, -code, -0.5 - code]))
            step, spike = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, -2.0, 1.0])
            sign = 1.0 if source <= 4 else -1.0
            margin = 2 * step + sign * 4 * spike
            self.out.weight.copy_(torch.stack([-margin / 2, margin / 2]))
            self.out.bias.copy_(torch.tensor([0.5, -0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.relu(self.hidden(self.site(x))))


def spiked(base: int, source: int) -> tuple[cm.CausalModel, cm.Network, cm.Alignment]:
    digits = cm.Finite(range(10))
    algorithm = cm.CausalModel(
        "copy",
        {"other": digits, "digit": digits},
        {"value": lambda digit: digit, "large": lambda value: value > 4},
        domains={"value": digits},
    )
    network = cm.Network(
        Spike(base, source),
        encode=lambda batch: torch.stack([torch.from_numpy(batch[v]).float() for v in ("other", "digit")], 1),
        decode=lambda scores: scores.argmax(-1).bool(),
    )
    rotation = cm.Orthogonal(torch.tensor([[0.0], [1.0]]))
    return algorithm, network, cm.Alignment({"value": cm.Feature(network.site("site"), rotation)})


@pytest.mark.parametrize(("base", "source"), [(0, 0), (3, 7), (9, 9), (6, 4), (2, 5)])
@pytest.mark.parametrize("method", ["enumeration", "refinement", "auto"])
def test_a_planted_violation_is_found_and_none_is_invented(base: int, source: int, method: str, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "_FEW", 1)
    algorithm, network, alignment = spiked(base, source)
    certificate = prove(algorithm, network, alignment, method=method)
    (outcome,) = certificate.outcomes
    # the base's own digit is replaced, so the base counts by its other input alone: ten bases with ten sources each
    assert (outcome.wrong, outcome.undecided) == (100, 0)
    assert outcome.lower == outcome.upper == Fraction(99, 100)
    assert outcome.first == (10 * base, source)
    certificate.save(tmp_path)
    assert recheck(tmp_path).lower == Fraction(99, 100)


def test_a_claim_that_other_labels_make_false_is_refuted_in_full():
    _, network, alignment = spiked(3, 7)
    turned = cm.CausalModel("turned", dict.fromkeys(("other", "digit"), cm.Finite(range(10))),
                            {"value": lambda digit: digit, "large": lambda value: value <= 4},
                            domains={"value": cm.Finite(range(10))})  # fmt: skip
    assert prove(turned, network, alignment, method="refinement").upper == Fraction(1, 100)
