"""Proofs that are kept: what is gone on with, and what is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import commute as cm
from commute.errors import ClaimError
from commute.proofs.proving import refinement
from commute.proofs.proving.growing import keep, kept
from commute.proofs.proving.hashing import digest_of_statement
from commute.proofs.proving.posing import posed
from commute.proofs.proving.refinement import Growth, refine
from commute.proofs.proving.statement import Statement
from commute.proofs.proving.tree import SPLIT

DIGIT = cm.Finite(range(8))
ALGORITHM = cm.CausalModel(
    "more", {"a": DIGIT, "b": DIGIT}, {"v": lambda a: a, "out": lambda v, b: v > b}, domains={"v": DIGIT}
)  # fmt: skip
LESS = cm.CausalModel("more", {"a": DIGIT, "b": DIGIT}, {"v": lambda a: a, "out": lambda v, b: v < b}, domains={"v": DIGIT})


class More(nn.Module):
    """Scores b + 1/2 and v, or the other way round, from the same weights."""

    def __init__(self, first: str = "b", shift: float = 0.5) -> None:
        super().__init__()
        self.site = nn.Identity()
        self.weight = nn.Parameter(torch.ones(1))
        self.first, self.shift = first, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v, b = (self.site(x) * self.weight).unbind(1)
        parts = (b + self.shift, v) if self.first == "b" else (v, b + self.shift)
        return torch.relu(torch.stack(parts, 1))


def encoded(batch):
    return torch.stack([torch.from_numpy(batch[v]).float() for v in "ab"], 1)


def claimed(module=None, algorithm=ALGORITHM, encode=encoded, *, turned=False):
    network = cm.Network(
        More() if module is None else module,
        encode=encode,
        decode=lambda y: (y.argmax(-1) == 0) if turned else (y.argmax(-1) == 1),
    )
    return algorithm, network, cm.Alignment({"v": cm.Feature(network.site("site"), dims=(0,))})


OTHERS = {
    "code": lambda: claimed(More("v")),
    "a number in the code": lambda: claimed(More(shift=-0.5)),
    "encode": lambda: claimed(encode=lambda batch: encoded(batch) - torch.tensor([2.0, 0.0])),
    "decode": lambda: claimed(turned=True),
    "algorithm": lambda: claimed(algorithm=LESS),
}


@pytest.mark.parametrize("method", ["refinement", "enumeration"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_proof_of_another_statement_is_not_used(name, method, tmp_path):
    """Module, encode, decode and algorithm are told apart by what they compute, though weights and alignment are the same."""
    first = cm.prove(*claimed(), method=method, runs=tmp_path)
    assert first.lower == first.upper == 1
    other = cm.prove(*OTHERS[name](), method=method, runs=tmp_path)
    fresh = cm.prove(*OTHERS[name](), method=method)
    assert other.outcomes == fresh.outcomes
    assert other.upper < 1
    assert len(list(tmp_path.iterdir())) == 2
    assert cm.prove(*claimed(), method=method, runs=tmp_path).record == first.record


def test_the_same_statement_goes_on_whoever_makes_it(tmp_path):
    rounds = []
    first = cm.prove(*claimed(), runs=tmp_path)
    again = cm.prove(*claimed(), runs=tmp_path, on_event=rounds.append)
    assert not rounds
    assert again.record == first.record


def leaking() -> Statement:
    """Whose cells are divided."""
    organism = cm.organisms.compile(cm.library.hierarchical_equality(3), leak={"left": 0.2}, seed=1)
    return posed(organism.algorithm, organism.network, organism.alignment, ["left"])


@pytest.fixture(scope="module")
def growth() -> Growth:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refinement, "_FEW", 1)
        patch.setattr(refinement, "_AT_ONCE", 2)
        made = Growth.begun(leaking())
        refine(made, budget=cm.Budget(bounds=20), counting=False)
    return made


def changed(statement: Statement) -> dict[str, Statement]:
    """Statements that differ in one thing."""
    base, source = statement.sides
    joint = replace(statement.joint, unit=statement.joint.unit / 2)
    program = replace(statement.patched.program, tiny=statement.patched.program.tiny / 2)
    return {
        "variables": replace(statement, variables=("w",)),
        "program": replace(statement, patched=replace(statement.patched, program=program)),
        "joint": replace(statement, joint=replace(joint, steps=joint.steps[:-1])),
        "labels": replace(statement, patched=replace(statement.patched, labels=("False", "True"))),
        "expected": replace(statement, expected=1 - statement.expected),
        "entries": replace(statement, entries=statement.entries + 1),
        "center": replace(statement, sides=(replace(base, center=base.center * 2), source)),
        "radius": replace(statement, sides=(base, replace(source, radius=source.radius + 1))),
        "group": replace(statement, sides=(replace(base, group=1 - base.group), source)),
        "member": replace(statement, sides=(replace(base, member=base.member[::-1]), source)),
    }


def test_all_that_a_proof_rests_on_is_in_the_digest(growth):
    made = {None: growth.statement, **changed(growth.statement)}
    digests = {digest_of_statement(statement) for statement in made.values()}
    assert len(digests) == len(made)
    assert digest_of_statement(leaking()) in digests


def test_a_file_about_another_statement_is_refused(growth, tmp_path):
    keep(growth, tmp_path / "proof")
    for statement in changed(growth.statement).values():
        with pytest.raises(ClaimError, match="about another statement; remove it"):
            kept(statement, tmp_path / "proof")
    assert kept(growth.statement, tmp_path / "proof").outcome() == growth.outcome()


def test_a_tree_that_is_not_of_all_pairs_is_refused(growth, tmp_path):
    keep(growth, tmp_path / "proof")
    found = load_file(tmp_path / "proof")
    more = {k: torch.cat([found[k], found[k][-1:]]) for k in ("cells", "counts")}
    fewer = {k: found[k][:-1].contiguous() for k in ("cells", "counts")}
    leaf = int(np.flatnonzero(found["cells"][:, 0].numpy() < SPLIT)[0])
    sizes = np.diff(found["offsets.0"].numpy())
    other = found["cells"].clone()
    other[leaf, 1] = int(np.flatnonzero(sizes != sizes[int(other[leaf, 1])])[0])
    for name, wrong in (("more", more), ("fewer", fewer), ("other pairs", {"cells": other})):
        save_file(found | wrong, tmp_path / name)
        with pytest.raises(ClaimError, match="not as written.*remove it to begin anew"):
            kept(growth.statement, tmp_path / name)
