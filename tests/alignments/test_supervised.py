import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.alignments.supervised import directions
from commute.errors import AlignmentError

KINDS = ["means", "lda", "ridge", "components"]
RIDGE = 1e-3


def drawn(seed, rows=200, width=6, values=4):
    """Vectors whose mean depends on a code, of which some are rare, with noise that is stronger in some directions."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(values, size=rows, p=np.arange(1, values + 1) / (values * (values + 1) / 2))
    codes[:values] = range(values)
    noise = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width))
    return rng.normal(size=(values, width))[codes] * 2 + noise, codes


def found(kind, x, codes, dims, seed=0):
    q = directions(kind, torch.from_numpy(x), torch.from_numpy(codes), dims, torch.Generator().manual_seed(seed))
    return q.numpy()


def span(columns):
    """The projection onto what columns span."""
    return columns @ np.linalg.pinv(columns)


def regularised(covariance):
    return covariance + RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


def scatters(x, codes):
    """The covariance of the means of the codes, and the mean covariance within codes."""
    between, within = np.zeros((2, x.shape[1], x.shape[1]))
    for code in np.unique(codes):
        of_code = x[codes == code]
        share, moved = len(of_code) / len(x), of_code.mean(0) - x.mean(0)
        between += share * np.outer(moved, moved)
        within += share * np.cov(of_code.T, bias=True)
    return between, within


def by_formula(kind, x, codes, dims):
    """The same in another way: as eigenvectors, the largest last, and for ridge by the normal equations of padded rows."""
    between, within = scatters(x, codes)
    if kind == "means":
        return np.linalg.eigh(between)[1][:, -dims:]
    if kind == "lda":
        return scipy.linalg.eigh(between, regularised(within))[1][:, -dims:]
    if kind == "components":
        return np.linalg.eigh(np.cov(x.T))[1][:, -dims:]
    centred, target = x - x.mean(0), (codes[:, None] == np.unique(codes)) * 1.0
    penalty = np.sqrt(len(x) * RIDGE * np.trace(np.cov(x.T, bias=True)) / x.shape[1]) * np.eye(x.shape[1])
    rows = np.vstack([centred, penalty]), np.vstack([target - target.mean(0), np.zeros((x.shape[1], target.shape[1]))])
    return np.linalg.svd(np.linalg.lstsq(*rows, rcond=None)[0])[0][:, :dims]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), dims=st.integers(1, 3))
def test_the_leading_directions_span_what_the_formula_does(kind, seed, dims):
    x, codes = drawn(seed)
    for k in range(1, dims + 1):
        assert span(found(kind, x, codes, dims)[:, :k]) == pytest.approx(span(by_formula(kind, x, codes, k)), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), dims=st.integers(1, 6))
def test_directions_are_orthonormal_and_random_ones_come_last(kind, seed, dims):
    x, codes = drawn(seed)
    q, other = (found(kind, x, codes, dims, seed=s) for s in (0, 1))
    assert q.T @ q == pytest.approx(np.eye(dims), abs=1e-9)
    told = dims if kind == "components" else min(dims, 3)
    assert np.array_equal(q[:, :told], other[:, :told])
    assert dims in (told, 6) or np.abs(q[:, told:] - other[:, told:]).max() > 0.01
    assert np.array_equal(q, found(kind, x, codes, dims, seed=0))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_directions_turn_with_the_vectors_and_do_not_see_where_zero_is_or_what_codes_are_called(kind, seed):
    x, codes = drawn(seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    moved = found(kind, 3 * (x @ turn.T) + 5, 7 * codes - 3, 2)
    assert span(moved) == pytest.approx(span(turn @ found(kind, x, codes, 2)), abs=1e-5)


def test_discriminants_see_past_noise_that_means_do_not():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 400)
    x = np.stack([codes + 0.01 * rng.normal(size=400), 30 * rng.normal(size=400)], 1)
    assert abs(found("lda", x, codes, 1)[0, 0]) > 0.999
    assert abs(found("means", x, codes, 1)[0, 0]) < 0.9


@pytest.mark.parametrize("kind", ["means", "ridge", "lda"])
def test_numbers_have_the_one_direction_along_which_they_grow(kind):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=5000)
    x = numbers[:, None] * np.array([3.0, 0, 4, 0]) + 0.01 * rng.normal(size=(5000, 4)) + 100
    assert np.abs(found(kind, x, numbers, 1)[:, 0]) == pytest.approx([0.6, 0, 0.8, 0], abs=0.01)


def test_half_precision_vectors_give_directions_of_float32():
    x, codes = drawn(0)
    q = directions("means", torch.from_numpy(x).bfloat16(), torch.from_numpy(codes), 2, torch.Generator())
    assert q.dtype == torch.float32
    assert (q.T @ q - torch.eye(2)).abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_that_do_not_vary_give_random_directions(kind):
    q = found(kind, np.ones((20, 3)), np.arange(20) % 2, 2)
    assert q.T @ q == pytest.approx(np.eye(2), abs=1e-9)


def test_more_directions_than_the_width_are_an_error():
    x, codes = drawn(0)
    with pytest.raises(AlignmentError, match="7 directions were asked for of vectors of width 6"):
        found("means", x, codes, 7)
