"""Splitting and pruning keep the function exactly; what is divided is as narrow as it can be."""

from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import commute as cm
from commute.proofs.programs.evaluate import exact, fractions, values
from commute.proofs.programs.patched import patched_program
from commute.proofs.programs.program import Affine, Elementwise, Product, Program
from commute.proofs.programs.pruning import pruned
from commute.proofs.programs.split import split
from tests.proofs.programs import nets
from tests.proofs.programs.nets import ALGORITHM, network, rotated


def whole(path, *dims, position=None):
    return cm.Feature(cm.Site(path, position), dims=dims or None)


@st.composite
def programs(draw):
    """Programs with dyadic weights, in which anything may depend on anything."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**30)))

    def number(low, high):
        return int(torch.randint(low, high, (1,), generator=generator))

    widths = [number(1, 4) for _ in range(number(1, 4))]
    count, steps = len(widths), []
    for _ in range(number(1, 9)):
        kind = number(0, 6)
        one = number(0, len(widths))
        alike = [v for v, w in enumerate(widths) if w == widths[one]]
        if kind == 0:
            steps.append(Elementwise(one, ("relu", "abs", "square")[number(0, 3)] if len(steps) < 6 else "relu"))
        elif kind == 5:  # thirds, by a constant that steps make
            steps += [Affine((0,), (torch.zeros(widths[one], widths[0]).double(),), torch.full((widths[one],), 3.0).double(), 0)]
            steps += [Elementwise(len(widths), "reciprocal"), Product((one, len(widths) + 1))]
            widths += [widths[one]] * 2
        elif kind == 1 and len(steps) < 6:
            steps.append(Product((one, alike[number(0, len(alike))])))
        else:
            width, taken = number(1, 4), [number(0, len(widths)) for _ in range(number(1, 3))]
            weights = [torch.randint(-2, 3, (width, widths[v]), generator=generator).double() / 2 for v in taken]
            bias, roundings = torch.randint(-1, 2, (width,), generator=generator).double(), 1
            if kind == 4:  # a move
                weights, bias, roundings = [torch.zeros_like(w) for w in weights], torch.zeros_like(bias), 0
                for row in range(width):
                    w = weights[number(0, len(weights))]
                    w[row, number(0, w.shape[1])] = 1
            weights = [w.to_sparse().coalesce() if number(0, 2) else w for w in weights]
            steps.append(Affine(tuple(taken), tuple(weights), bias, roundings))
            widths.append(width)
            continue
        widths.append(widths[one])
    return Program(tuple(widths[:count]), tuple(steps), 2.0**-24, 2.0**-126)


def rows(program, seed):
    generator = np.random.default_rng(seed)
    return [[Fraction(int(x), 4) for x in generator.integers(-8, 9, width)] for width in program.inputs]


def rejoined(parts, inputs):
    z = [sum(each) for each in zip(*(exact(side, [x]) for side, x in zip(parts.sides, inputs, strict=True)), strict=True)]
    return exact(parts.joint, [z])


@settings(max_examples=150)
@given(programs(), st.booleans(), st.integers(0, 100))
def test_the_parts_are_the_program(program, narrow, seed):
    parts, inputs = split(program, narrow=narrow), rows(program, seed)
    assert rejoined(parts, inputs) == exact(program, inputs)
    assert [side.inputs for side in parts.sides] == [(width,) for width in program.inputs]
    assert {side.widths[side.output] for side in parts.sides} == {parts.joint.inputs[0]}


def dense(width, *inputs, roundings=1, seed=0):
    """An affine step of several values, given with their widths."""
    generator = torch.Generator().manual_seed(seed)
    weights = tuple(torch.randint(-2, 3, (width, w), generator=generator).double() / 2 for _, w in inputs)
    return Affine(tuple(v for v, _ in inputs), weights, torch.ones(width).double(), roundings)


def move(*parts):
    """A step that puts numbers of several values in some order: (value, its width, the places where they go)."""
    width = sum(len(rows) for _, _, rows in parts)
    weights = []
    for _, w, rows in parts:
        found = torch.zeros(width, w, dtype=torch.float64)
        found[list(rows), range(w)] = 1
        weights.append(found)
    return Affine(tuple(v for v, *_ in parts), tuple(weights), torch.zeros(width).double(), 0)


MOVED = {
    "cat": move((2, 2, (0, 1)), (3, 2, (2, 3))),
    "stack": move((2, 2, (0, 2)), (3, 2, (1, 3))),
    "flip": move((3, 2, (1, 0))),
    "roll": move((4, 4, (1, 2, 3, 0))),
    "pad": Affine(
        (3,), (torch.eye(2, dtype=torch.float64)[[0, 1, 1]] * torch.tensor([[1.0], [1], [0]]),), torch.zeros(3).double(), 0
    ),
}


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("kind", MOVED)
def test_outputs_that_are_moved(kind, narrow):
    """Heads that make more numbers of few, and then an output of which each number is one of theirs."""
    for seed in range(20):
        steps = (dense(2, (0, 3), (1, 3), seed=seed), dense(2, (2, 2), seed=seed + 1), dense(4, (3, 2), seed=seed + 2))
        program = Program((3, 3), (*steps, MOVED[kind]), 2.0**-24, 2.0**-126)
        inputs = rows(program, seed)
        assert rejoined(split(program, narrow=narrow), inputs) == exact(program, inputs)


def test_parts_that_are_another_function_are_noticed(monkeypatch):
    program = Program((3, 3), (dense(2, (0, 3), (1, 3)), Elementwise(2, "relu")), 2.0**-24, 2.0**-126)
    module = import_module("commute.proofs.programs.split")
    made, joint = split(program), module._joint
    assert rejoined(made, rows(program, 1)) == exact(program, rows(program, 1))

    def without_last(*arguments):
        found = joint(*arguments)
        return Program(found.inputs, found.steps[:-1] or (move((0, 2, (1, 0))),), found.unit, found.tiny)

    monkeypatch.setattr(module, "_joint", without_last)
    with pytest.raises(RuntimeError, match="another function"):
        split(program)


@settings(max_examples=150)
@given(programs(), st.integers(0, 100))
def test_pruning_keeps_the_function_and_makes_nothing_wider(program, seed):
    kept, inputs = pruned(program), rows(program, seed)
    assert exact(kept, inputs) == exact(program, inputs)
    assert kept.inputs == program.inputs
    again = pruned(kept)
    assert again.widths == kept.widths


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize(
    ("alignment", "variables"),
    [
        (rotated(16, 4, 3, path="relu1"), ["left", "right"]),
        (cm.Alignment({"left": whole("relu1", 1, 2), "right": whole("relu2", 0, 1)}), ["left", "right"]),
    ],
)
def test_networks_of_relu_exactly(alignment, variables, narrow):
    made = patched_program(ALGORITHM, network(nets.Residual), alignment, variables)
    parts = split(made.program, narrow=narrow)
    batches = nets.drawn(2, 1 + len(variables))
    inputs = [fractions(made.entries(batch)[0]) for batch in batches]
    assert rejoined(parts, inputs) == exact(made.program, inputs)


def test_transformers_in_floats():
    alignment = cm.Alignment({"left": whole("middle", position=1), "right": whole("middle", position=3)})
    made = patched_program(ALGORITHM, network(nets.Transformer), alignment, ["left", "right"])
    inputs = [made.entries(batch) for batch in nets.drawn(9, 3)]
    for narrow in (True, False):
        parts = split(made.program, narrow=narrow)
        z = sum(values(side, [x])[-1] for side, x in zip(parts.sides, inputs, strict=True))
        assert torch.allclose(values(parts.joint, [z])[-1], values(made.program, inputs)[-1], atol=1e-12)
    assert split(made.program).joint.inputs == (5,)  # the last position is read alone, and right writes it: nothing is left to do


def test_what_is_divided_by_a_constant_is_left_to_no_pair():
    """The mean of three sums, and scores of it: each side brings its own part."""
    three = Affine((0,), (torch.zeros(2, 3).double(),), torch.full((2,), 3.0).double(), 0)
    mean = (dense(2, (0, 3), (1, 3)), three, Elementwise(3, "reciprocal"), Product((4, 2)))
    for last in ((), (dense(2, (5, 2)),)):
        program = Program((3, 3), (*mean, *last), 2.0**-24, 2.0**-126)
        for narrow in (True, False):
            parts, inputs = split(program, narrow=narrow), rows(program, 1)
            assert rejoined(parts, inputs) == exact(program, inputs)
            assert parts.joint.inputs == (2,)
        assert nonlinear(parts.joint) == []
    wide = Program((3, 3), (*mean, dense(9, (5, 2)), Elementwise(6, "relu")), 2.0**-24, 2.0**-126)
    parts, inputs = split(wide), rows(wide, 2)
    assert rejoined(parts, inputs) == exact(wide, inputs)
    assert parts.joint.inputs == (2,)  # neither the nine, nor the constants as well


def nonlinear(program):
    return [step for step in program.steps if not isinstance(step, Affine)]


def test_what_is_left_to_the_joint_program():
    made = patched_program(ALGORITHM, network(nets.Residual), rotated(16, 4, path="relu1"), ["left"])
    parts = split(made.program)
    assert [step.function for step in nonlinear(parts.joint)] == ["relu"]
    assert [len(nonlinear(side)) for side in parts.sides] == [1, 1]
    assert parts.joint.inputs == (16,)  # the site, from which both the layer after it and the residual stream follow
    assert split(made.program, narrow=False).joint.inputs == (32,)
    last = patched_program(ALGORITHM, network(nets.Residual), rotated(16, 4, path="relu2"), ["left"])
    assert nonlinear(split(last.program).joint) == []
    assert [step.roundings for step in split(last.program).joint.steps] == [0]
    norm = patched_program(ALGORITHM, network(nets.Transformer), rotated(8, 3, path="middle", position=-1), ["left"])
    assert split(norm.program).joint.inputs == (8,)  # not the differences from the mean as well, of which there are two sets
    assert split(norm.program, narrow=False).joint.inputs == (24,)


def test_errors_of_shared_steps_are_divided_and_the_bias_is_the_bases():
    one, two = (torch.eye(2, dtype=torch.float64) * k for k in (1, 3))
    program = Program(
        (2, 2),
        (Affine((0, 1), (one, two), torch.tensor([5.0, 6.0]).double(), 7), Elementwise(2, "relu")),
        2.0**-24,
        2.0**-126,
    )
    base, source = split(program).sides
    assert [step.roundings for step in base.steps] == [7, 0]
    assert [step.roundings for step in source.steps] == [7, 0]
    assert base.steps[0].bias.tolist() == [5, 6]
    assert source.steps[0].bias.tolist() == [0, 0]


def test_inputs_that_nothing_depends_on():
    step = Affine((0,), (torch.eye(2).double(),), torch.zeros(2).double(), 1)
    program = Program((2, 3), (step, Elementwise(2, "relu")), 2.0**-24, 2.0**-126)
    inputs = [[Fraction(1), Fraction(-1)], [Fraction(2)] * 3]
    assert rejoined(split(program), inputs) == [1, 0]
    constant = Program((2, 3), (Affine((0,), (torch.zeros(2, 2).double(),), torch.ones(2).double(), 0),), 2.0**-24, 2.0**-126)
    assert rejoined(split(constant), inputs) == [1, 1]
