import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.causal.batches import distinct

COLUMNS = st.sampled_from([[0, 1], [-3, 5, 2**40], [True, False], ["a", "bb"], [2**63, 2**64 - 1, 0]])


@settings(max_examples=60)
@given(labels=st.lists(COLUMNS, min_size=1, max_size=3), rows=st.integers(1, 30), data=st.data())
def test_distinct_rows_are_the_first_of_their_kind(labels, rows, data):
    picked = [data.draw(st.lists(st.sampled_from(kinds), min_size=rows, max_size=rows)) for kinds in labels]
    batch = {f"x{i}": np.array(p, dtype=np.uint64 if 2**63 in labels[i] else None) for i, p in enumerate(picked)}
    first, places = distinct(batch)
    tuples = list(zip(*picked, strict=True))
    assert [tuples[first[p]] for p in places] == tuples
    assert {int(f) for f in first} == {tuples.index(t) for t in tuples}


def test_labels_that_may_be_equal_and_not_the_same_are_left_alone():
    assert distinct({"x": np.array([0.0, -0.0])}) is None
    assert distinct({"x": np.array([1, True], dtype=object)}) is None
