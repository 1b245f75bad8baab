"""Ports: what cannot be a place where nodes write or read."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.errors import NetworkError
from commute.models.sites import Tap


@pytest.mark.parametrize("weight", [torch.zeros(1, 4, 6).numpy(), [[1.0]], 3, torch.zeros(1, 4, 6, dtype=torch.complex64)])
def test_weights_that_are_no_numbers_of_torch_are_refused(weight):
    for make in (cm.Writes, partial(cm.Reads, tap=Tap("map"))):
        with pytest.raises(NetworkError, match="weight must be .* given a (ndarray|list|int|tensor of torch.complex64)"):
            make(("a",), Tap("embed"), weight=weight)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ([[0, 1]], r"columns must be \[node, part\], \[1, 2\]; given a list"),
        (torch.tensor([[0.0, 1.0]]), "columns are whole numbers, of int64; given torch.float32"),
        (torch.tensor([[1, -9]]), "columns are counted from 0; given -9"),
    ],
)
def test_columns_that_count_nothing_are_refused(columns, match):
    with pytest.raises(NetworkError, match=match):
        cm.Writes(("a",), Tap("embed"), torch.zeros(1, 2, 6), columns)
    with pytest.raises(NetworkError, match=match):
        cm.Reads(("a",), Tap("embed"), tap=Tap("map"), weight=torch.zeros(1, 6, 2), columns=columns)


def test_what_is_read_is_told_by_taps_paths_and_biases_of_its_width():
    read = partial(cm.Reads, ("a",), Tap("embed"), weight=torch.zeros(1, 6, 4))
    for bias in (torch.zeros(3), torch.zeros(1, 6), np.zeros((1, 4)), [0.0]):
        with pytest.raises(NetworkError, match=r"bias must be \[node, part\], \[1, 4\]; given"):
            read(tap=Tap("map"), bias=bias)
    with pytest.raises(NetworkError, match=r"it is at a Tap\(path\); given 'map'"):
        read(tap="map")
    with pytest.raises(NetworkError, match="norm is the path of a module; given 3"):
        read(tap=Tap("map"), norm=3)
    with pytest.raises(NetworkError, match="nodes are a tuple of names, .* given 3"):
        cm.Reads(3, Tap("embed"))


def test_weights_are_read_without_their_gradients():
    weight = nn.Parameter(torch.ones(1, 6, 6))
    for port in (cm.Writes(("a",), Tap("embed"), weight), cm.Reads(("a",), Tap("embed"), tap=Tap("map"), weight=weight)):
        assert not port.weight.requires_grad
        assert port.weight.data_ptr() == weight.data_ptr()
    assert not cm.Reads(("a",), Tap("m"), tap=Tap("m"), weight=weight, bias=nn.Parameter(torch.ones(1, 6))).bias.requires_grad
