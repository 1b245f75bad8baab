"""What a pass needs of what was computed before, told by watching its operations."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from commute.models.calls import Call
from commute.models.recording import record, record_costs
from commute.models.trace import compared


class Steps(nn.Module):
    """Blocks of which each takes the sum of some of the values before it: the inputs, and what earlier blocks gave."""

    def __init__(self, reads):
        super().__init__()
        torch.manual_seed(0)
        self.reads = reads
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in reads)

    def forward(self, x):
        made = [x]
        for block, reads in zip(self.blocks, self.reads, strict=True):
            made.append(block(sum(torch.tanh(made[i]) for i in reads)))
        return made[-1] * 1


def traced(module, width=3):
    runs = [Call((torch.randn(n, width),), {}) for n in (2, 3)]
    return compared(record_costs(module, runs[0]), record(module, runs[1]))


@st.composite
def steps(draw):
    return Steps([draw(st.sets(st.integers(0, i), min_size=1, max_size=3)) for i in range(draw(st.integers(1, 6)))])


@settings(max_examples=100)
@given(steps())
def test_a_result_is_needed_until_the_last_block_that_reads_it(module):
    calls = traced(module).by_place
    n = len(module.reads)
    for i in range(n):
        readers = [j for j in range(n) if i + 1 in module.reads[j]]
        call = calls[f"blocks.{i}", 0]
        if i == n - 1:  # the whole module reads it, for its output
            assert call.until > call.end
        elif not readers:
            assert call.until <= call.end
        else:
            assert calls[f"blocks.{max(readers) - 1}", 0].end < call.until <= calls[f"blocks.{max(readers)}", 0].end
        others = [v for v in range(i + 1) for j in range(i + 1, n) if v in module.reads[j]]
        assert call.alone == (not others)


class Glue(nn.Module):
    """What is between modules is computed anew where they are replayed, so that what it reads stays needed."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        doubled = 2 * self.first(x)
        y = self.second(x)
        return self.third(y + doubled)


def test_what_glue_reads_is_needed_as_long_as_what_it_makes():
    calls = traced(Glue()).by_place
    assert calls["first", 0].until > calls["second", 0].end
    assert not calls["second", 0].alone
    assert calls["third", 0].alone


class InPlace(nn.Module):
    """A residual stream that is changed in place."""

    def __init__(self):
        super().__init__()
        self.embed, self.block, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        h = self.embed(x)
        h += self.block(h)
        return self.last(h)


def test_memory_that_is_changed_in_place_is_needed_as_long_as_any_of_its_values():
    calls = traced(InPlace()).by_place
    assert calls["embed", 0].until > calls["block", 0].end
    assert not calls["block", 0].alone


class Escaping(nn.Module):
    """A number read out of the values decides what is done with others."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        size = float(x.abs().sum())
        return self.second(self.first(x)) * size


def test_nothing_is_told_of_values_that_become_numbers():
    calls = traced(Escaping()).by_place
    assert not any(call.alone for call in calls.values())


def test_the_most_that_lives_at_once_is_counted():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(4, 1000), nn.Linear(1000, 4)

        def forward(self, x):
            return self.down(torch.tanh(self.up(x)))

    trace = traced(Wide(), 4)
    assert 2 * 1000 * 4 <= trace.largest <= 2 * 1000 * 4 + 100  # the wide value and its hyperbolic tangent, in bytes a row
