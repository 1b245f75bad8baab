import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from commute.alignments.stacked import passes


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), max_size=6), st.integers(1, 60))
def test_passes_hold_every_row_once_in_order_and_as_many_as_there_is_room_for(groups, room):
    seen = [np.zeros(shape, dtype=int) for shape in groups]
    order = []
    for together in passes(groups, room):
        assert together
        assert sum((i.stop - i.start) * (r.stop - r.start) for _, i, r in together) <= room
        for group, items, rows in together:
            seen[group][items, rows] += 1
            order.append((group, items.start, rows.start))
    assert all((x == 1).all() for x in seen)
    assert order == sorted(order)
