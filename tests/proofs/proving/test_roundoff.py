"""How far evaluations are off, against evaluations in float32 and float64; the evaluation in columns."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commute.proofs.enclosures.domains import Box
from commute.proofs.enclosures.rounding import EXACT, Arithmetic
from commute.proofs.programs.evaluate import values
from commute.proofs.programs.program import FUNCTIONS, Affine, Elementwise, Product, Program
from commute.proofs.programs.pruning import matrix
from commute.proofs.proving.columns import Columns
from commute.proofs.proving.hoisting import hoisted
from commute.proofs.proving.roundoff import off

FLOAT32 = Arithmetic(2.0**-24, 2.0**-126)
POSITIVE = ("reciprocal", "sqrt", "rsqrt")


def program_of(function, generator, width=6):
    """An affine step, a function of positive numbers where it needs them, a product, a move and an affine step."""
    draw = lambda *shape: torch.randn(*shape, generator=generator).double()  # noqa: E731
    bias = 40 + draw(width).abs() if function in POSITIVE else draw(width)
    swap = torch.arange(width).flip(0)
    moves = matrix(torch.arange(width), swap, torch.ones(width).double(), (width, width))
    steps = (
        Affine((0,), (draw(width, 4),), bias, 12),
        Elementwise(1, function),
        Product((1, 2)),
        Affine((3,), (moves,), torch.zeros(width).double(), 0),
        Elementwise(4, "relu"),
        Affine((4, 5, 2), (draw(3, width), draw(3, width), draw(3, width)), draw(3), 30),
    )
    return Program((4,), steps, FLOAT32.unit, FLOAT32.tiny)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_holds_what_float32_is_off_and_is_not_idle(function):
    generator = torch.Generator().manual_seed(FUNCTIONS.index(function))
    program = program_of(function, generator)
    points = torch.randn(4, 500, generator=generator)
    columns = Columns.of(program, torch.float32)
    room = columns.room(500)
    room[0].copy_(points)
    found = columns.run(room).double().T
    box = Box(torch.zeros(1, 4).double(), points.abs().amax(1).double()[None])
    least = off(program, box, torch.zeros(4).double(), FLOAT32)
    errors = (found - values(program, [points.double().T])[-1]).abs().amax(0)
    assert (errors <= least).all()
    assert (least < 1e9 * errors).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_holds_what_another_start_makes(function):
    generator = torch.Generator().manual_seed(7 + FUNCTIONS.index(function))
    program = program_of(function, generator)
    center = torch.randn(1, 4, generator=generator).double()
    start = torch.full((4,), 1e-3).double()
    least = off(program, Box(center, torch.zeros_like(center)), start, EXACT)
    corners = center + start * torch.sign(torch.randn(300, 4, generator=generator).double())
    errors = (values(program, [corners])[-1] - values(program, [center])[-1]).abs().amax(0)
    assert (errors <= least).all()
    assert (errors > least / 1e4).all()


@pytest.mark.parametrize("function", POSITIVE)
def test_says_nothing_where_a_function_may_not_be_defined(function):
    program = Program((1,), (Elementwise(0, function),), FLOAT32.unit, FLOAT32.tiny)
    box = Box(torch.tensor([[1.0]]).double(), torch.tensor([[0.9]]).double())
    assert off(program, box, torch.tensor([0.05]).double(), FLOAT32).isfinite().all()
    assert off(program, box, torch.tensor([0.2]).double(), FLOAT32).isinf().all()


def test_says_nothing_beyond_overflow():
    program = Program((1,), (Elementwise(0, "exp"),), FLOAT32.unit, FLOAT32.tiny)
    at = lambda x: off(program, Box(torch.tensor([[x]]).double(), torch.zeros(1, 1).double()), torch.zeros(1).double(), FLOAT32)  # noqa: E731
    assert at(80.0).isfinite().all()
    assert at(100.0).isinf().all()


@given(st.integers(0, 2**16), st.sampled_from(FUNCTIONS), st.integers(1, 70))
def test_columns_are_what_evaluate_says(seed, function, points):
    generator = torch.Generator().manual_seed(seed)
    program = program_of(function, generator)
    x = torch.randn(points, 4, generator=generator).double()
    columns = Columns.of(program, torch.float64)
    for rows in (x, x[: max(1, points // 2)], x):  # the same buffers, of other sizes
        room = columns.room(len(rows))
        room[0].copy_(rows.T)
        torch.testing.assert_close(columns.run(room).T, values(program, [rows])[-1], rtol=1e-9, atol=1e-9)


def test_a_step_does_not_write_over_what_is_used_later():
    generator = torch.Generator().manual_seed(0)
    program = program_of("relu", generator)
    columns = Columns.of(program, torch.float64)
    assert columns.places[2] != columns.places[1]  # taken by the product
    chain = Program((2,), (Elementwise(0, "relu"), Elementwise(1, "tanh")), FLOAT32.unit, FLOAT32.tiny)
    assert Columns.of(chain, torch.float64).places == (0, 0, 0)
    both = Program((2,), (Elementwise(0, "relu"), Elementwise(0, "tanh"), Product((1, 2))), FLOAT32.unit, FLOAT32.tiny)
    made = Columns.of(both, torch.float64)
    x = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    room = made.room(2)
    room[0].copy_(x)
    assert torch.equal(made.run(room), x.relu() * x.tanh())


def test_sparse_matrices_that_are_large_stay_sparse():
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.arange(300), torch.randperm(300, generator=generator)
    weights = matrix(rows, columns, torch.rand(300, generator=generator).double(), (300, 300))
    program = Program((300,), (Affine((0,), (weights,), torch.ones(300).double(), 1),), FLOAT32.unit, FLOAT32.tiny)
    made = Columns.of(program, torch.float64)
    room = made.room(5)
    room[0].copy_(torch.rand(300, 5, generator=generator))
    expected = values(program, [room[0].T.clone()])[-1]
    torch.testing.assert_close(made.run(room).T, expected)


def test_hoisting_leaves_the_function_as_it_is():
    generator = torch.Generator().manual_seed(3)
    joint = program_of("tanh", generator)
    parts = hoisted(joint, 3)
    given_ = [torch.randn(20, 4, generator=generator).double() for _ in range(3)]
    rows = [values(own, [x])[-1] for own, x in zip(parts.sides, given_, strict=True)]
    torch.testing.assert_close(values(parts.joint, [sum(rows)])[-1], values(joint, [sum(given_)])[-1])
    assert isinstance(parts.joint.steps[0], Elementwise | Product)
