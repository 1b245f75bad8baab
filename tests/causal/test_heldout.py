import os
import subprocess
import sys
from itertools import combinations, product

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import commute as cm
from commute.causal.heldout import check_heldout, held_out, pair_keys, unseen
from commute.causal.inputs import Inputs
from commute.causal.pairs import make_pairs
from commute.errors import ModelError, PairsError
from commute.testing.strategies import models, pairs, variables

PARTS = ("train", "select", "verify")
NONE = np.empty(0, dtype=np.uint64)
EQUALITY = cm.library.hierarchical_equality(4)
LARGE = (tuple(range(7)), tuple("abcdefgh"), (False, True), (0.5, 1.5, 2.5, 3.5, 4.5, 5.5))
MODELS = {
    "equality": cm.library.hierarchical_equality(),
    "addition": cm.library.modular_addition(13),
    "digits": cm.library.two_digit_addition(),
    "maximum": cm.library.maximum(),
    "choices": cm.library.multiple_choice(),
    "names": cm.library.indirect_object_identification(),
    "prices": cm.library.price_tagging(),
}
WHOLE = {
    "brackets": cm.library.bracket_balance(),
    "xor": cm.library.xor_nand(),
    "continuous": cm.library.price_tagging(cm.Interval(0, 10)),
    "small": cm.library.hierarchical_equality(5),
}


def drawer(model, chosen, *, seed=0, design="uniform", sizes=None):
    """Draws pairs, all from one generator, and notes how many it was asked for."""
    generator = np.random.default_rng(seed)

    def draw(n):
        if sizes is not None:
            sizes.append(n)
        return cm.pairs(model, chosen, n, design=design, seed=generator)

    return draw


def rows_of(found):
    """Every pair as plain labels; the order of the variables does not count."""
    sides = [found.base, *(found.sources[v] for v in sorted(found.sources))]
    return list(zip(*(x.tolist() for batch in sides for x in batch.values()), strict=True))


def kinds_of(model, found):
    before = model.solve(found.base)
    after = {v: model.solve(source)[v] for v, source in found.sources.items()}
    columns = [found.changed, *(x for v in found.variables for x in (before[v], after[v]))]
    return list(zip(*(x.tolist() for x in columns), strict=True))


# keys


@pytest.mark.parametrize("chosen", [["v"], ["v", "a"]])
def test_all_pairs_of_a_domain_have_keys_of_their_own(chosen):
    model = cm.CausalModel("sum", {"a": cm.Finite("xyz"), "b": cm.Bool}, {"v": lambda a, b: a * (b + 1), "out": lambda v: v})
    every = cm.pairs(model, chosen, design="exhaustive")
    assert len(every) == 6 ** (1 + len(chosen))
    assert len(np.unique(pair_keys(model, every))) == len(every)


@given(st.data())
def test_keys_agree_exactly_where_pairs_do(data):
    model = data.draw(models())
    found = data.draw(pairs(model, rows=8))
    keys, rows = pair_keys(model, found), rows_of(found)
    assert keys.dtype == np.uint64
    for i, j in combinations(range(len(found)), 2):
        assert (keys[i] == keys[j]) == (rows[i] == rows[j])


def test_the_order_of_the_variables_does_not_matter_and_which_they_are_does():
    drawn = cm.pairs(EQUALITY, ["left", "right"], 200)
    left, right = drawn.sources["left"], drawn.sources["right"]

    def made(**sources):
        base, *columns = (EQUALITY.columns(batch)[0] for batch in (drawn.base, *sources.values()))
        named = dict(zip(sources, columns, strict=True))
        return make_pairs(EQUALITY, base, named, design="given", independent=False)

    one, other = made(left=left, right=right), made(right=right, left=left)
    assert (pair_keys(EQUALITY, one) == pair_keys(EQUALITY, other)).all()
    different = [one, made(left=right, right=left), made(left=left), made(right=left), made(left=right)]
    keys = np.concatenate([pair_keys(EQUALITY, found) for found in different])
    pairs = {(*sorted(found.variables), *row) for found in different for row in rows_of(found)}
    assert len(np.unique(keys)) == len(pairs) > 900


def test_keys_are_the_same_in_another_process():
    said = (
        "import commute as cm; from commute.causal.heldout import pair_keys; m = cm.library.indirect_object_identification();"
        "print(*pair_keys(m, cm.pairs(m, ['position', 'name'], 50, seed=3)))"
    )
    other = {**os.environ, "PYTHONHASHSEED": "77"}
    printed = subprocess.run([sys.executable, "-c", said], env=other, capture_output=True, text=True, check=True).stdout
    model = MODELS["names"]
    assert printed.split() == [str(key) for key in pair_keys(model, cm.pairs(model, ["position", "name"], 50, seed=3))]


def test_real_numbers_have_keys_and_both_zeros_are_one():
    model = cm.CausalModel("line", {"x": cm.Interval(-1, 1)}, {"y": lambda x: 2 * x}, domains={"y": cm.Interval(-2, 2)})
    drawn = pair_keys(model, cm.pairs(model, ["y"], 1000, design="uniform"))
    assert len(set(drawn.tolist())) == 1000
    base, source = {"x": np.array([0.0, -0.0, 0.5])}, {"y": {"x": np.array([-0.0, 0.0, 0.5])}}
    keys = pair_keys(model, make_pairs(model, base, source, design="given", independent=False))
    assert keys[0] == keys[1] != keys[2]


def test_a_pair_of_other_labels_has_no_key():
    with pytest.raises(ModelError, match="not in its domain"):
        pair_keys(EQUALITY, cm.pairs(cm.library.hierarchical_equality(8), ["left"], 100))


# unseen


@settings(max_examples=50)
@given(st.data())
def test_unseen_pairs_were_not_seen_and_are_of_the_kinds_that_were_drawn(data):
    model = data.draw(models())
    chosen = data.draw(variables(model, least=1))[:2]
    seen = pair_keys(model, cm.pairs(model, chosen, data.draw(st.integers(1, 60)), design="uniform", seed=1))
    first = drawer(model, chosen)(30)
    found, left = unseen(drawer(model, chosen), model, 30, seen)
    again = np.isin(pair_keys(model, found), seen)
    assert len(found) == 30
    assert again.sum() == left
    assert kinds_of(model, found) == kinds_of(model, first)
    before = np.isin(pair_keys(model, first), seen)
    assert not (again & ~before).any()
    kept = np.flatnonzero(~before | again)
    assert [rows_of(found)[i] for i in kept] == [rows_of(first)[i] for i in kept]
    assert found.independent
    columns = {v: model.columns(x)[0] for v, x in found.sources.items()}
    alike = make_pairs(model, model.columns(found.base)[0], columns, design="uniform", independent=True)
    assert alike.to_frame().equals(found.to_frame())


def test_what_is_counted_is_what_cannot_be_had():
    """Against brute force: a pair stays exactly where all pairs of its kind were seen."""
    model = cm.CausalModel("sum", dict.fromkeys("ab", cm.Finite(range(4))), {"s": lambda a, b: a + b, "out": lambda s: s > 2})
    every = cm.pairs(model, ["s"], design="exhaustive")
    known = np.random.default_rng(0).permutation(len(every))[:200]
    new = set(kinds_of(model, every[np.setdiff1d(np.arange(len(every)), known)]))
    seen = pair_keys(model, every[known])
    found, left = unseen(drawer(model, ["s"]), model, 300, seen)
    stayed = np.isin(pair_keys(model, found), seen)
    assert 0 < left == stayed.sum() < 300
    assert stayed.tolist() == [kind not in new for kind in kinds_of(model, found)]


def test_where_everything_was_seen_pairs_stay_as_drawn():
    model = cm.library.xor_or_and_nand()
    seen = pair_keys(model, cm.pairs(model, ["either"], design="exhaustive"))
    sizes = []
    found, left = unseen(drawer(model, ["either"], sizes=sizes), model, 50, seen)
    assert left == 50
    assert found.to_frame().equals(drawer(model, ["either"])(50).to_frame())
    assert max(sizes) <= 4 * 50
    assert len(sizes) < 40


def test_where_nothing_was_seen_pairs_are_those_drawn_and_no_more_is_drawn():
    sizes = []
    others = pair_keys(EQUALITY, cm.pairs(EQUALITY, ["right"], 5000))
    for seen in (NONE, others):
        found, left = unseen(drawer(EQUALITY, ["left"], sizes=sizes), EQUALITY, 500, seen)
        assert left == 0
        assert found.to_frame().equals(drawer(EQUALITY, ["left"])(500).to_frame())
    assert sizes == [500, 500]


def test_only_what_was_seen_is_drawn_again():
    sizes = []
    seen = pair_keys(EQUALITY, drawer(EQUALITY, ["left"])(1000)[:3])
    _, left = unseen(drawer(EQUALITY, ["left"], sizes=sizes), EQUALITY, 1000, seen)
    assert left == 0
    assert sizes[:2] == [1000, 6]
    assert sum(sizes[1:]) < 100


def test_the_balance_stays():
    """Most pairs that do not change the output were seen, and few of the others."""
    seen = pair_keys(EQUALITY, cm.pairs(EQUALITY, ["left"], 2**15, seed=5))
    first = drawer(EQUALITY, ["left"], design="balanced")(4000)
    before = np.isin(pair_keys(EQUALITY, first), seen)
    assert before[~first.changed].mean() > before[first.changed].mean() + 0.05
    found, left = unseen(drawer(EQUALITY, ["left"], design="balanced"), EQUALITY, 4000, seen)
    assert left == 0
    assert (pair_keys(EQUALITY, found) != pair_keys(EQUALITY, first)).sum() == before.sum()
    assert (found.changed == first.changed).all()
    assert abs(found.changed.mean() - 0.5) < 0.03
    assert kinds_of(EQUALITY, found) == kinds_of(EQUALITY, first)
    assert found.design == "balanced"


def test_unseen_pairs_of_a_kind_are_equally_likely():
    model = cm.library.modular_addition(5)
    every = cm.pairs(model, ["sum"], design="exhaustive")
    seen = pair_keys(model, every[np.random.default_rng(1).permutation(len(every))[:300]])
    fitting = {}
    for row, kind, key in zip(rows_of(every), kinds_of(model, every), pair_keys(model, every), strict=True):
        if key not in seen:
            fitting.setdefault(kind, set()).add(row)
    found, left = unseen(drawer(model, ["sum"]), model, 20_000, seen)
    assert left == 0
    counts = {}
    for row, kind in zip(rows_of(found), kinds_of(model, found), strict=True):
        counts.setdefault(kind, {}).setdefault(row, 0)
        counts[kind][row] += 1
    replaced = [chisquare(list(of_kind.values())).pvalue for of_kind in counts.values() if len(of_kind) > 1]
    assert all(set(counts[kind]) == fitting[kind] for kind in fitting)
    assert min(replaced) > 1e-4 / len(replaced)


def test_real_numbers_are_replaced_by_others():
    """No other pair has the same transition of a real number; the kind is then whether the output changes."""
    model = cm.CausalModel("threshold", {"x": cm.Interval(0, 1)}, {"y": lambda x: x, "high": lambda y: y > 0.5})
    first = drawer(model, ["y"])(100)
    found, left = unseen(drawer(model, ["y"]), model, 100, pair_keys(model, first))
    assert left == 0
    assert not set(rows_of(found)) & set(rows_of(first))
    assert (found.changed == first.changed).all()


@pytest.mark.parametrize("seen", [[], np.zeros(3), np.zeros(3, dtype=np.int64)])
def test_seen_are_keys(seen):
    with pytest.raises(PairsError, match="pair_keys"):
        unseen(drawer(EQUALITY, ["left"]), EQUALITY, 5, seen)


# values held out


def divided(model, seed=0):
    return {part: held_out(model, part, seed) for part in PARTS}


@given(st.data())
def test_parts_have_no_value_in_common_and_make_up_the_whole(data):
    model = data.draw(models(labels=LARGE))
    sizes = {v: len(model.domain(v)) for v in model.inputs}
    seed = data.draw(st.integers(0, 9))
    if max(sizes.values()) < 6:
        with pytest.raises(PairsError, match="heldout='pairs'"):
            held_out(model, "train", seed)
        return
    parts = divided(model, seed)
    for v, size in sizes.items():
        values = [tuple(part.domain(v)) for part in parts.values()]
        if size < 6:
            assert values == [tuple(model.domain(v))] * 3
            continue
        assert sorted(sum(values, ())) == sorted(model.domain(v))
        assert [len(of_part) for of_part in values[1:]] == [2, 2]
        assert all(of_part == tuple(x for x in model.domain(v) if x in of_part) for of_part in values)
        same = [w for w in model.inputs if model.domain(w) == model.domain(v)]
        assert all(part.domain(w) == part.domain(v) for part in parts.values() for w in same)


@pytest.mark.parametrize(("values", "sizes"), [(6, (2, 2, 2)), (8, (4, 2, 2)), (40, (20, 10, 10)), (43, (23, 10, 10))])
def test_half_is_for_training(values, sizes):
    parts = divided(cm.library.hierarchical_equality(values))
    assert tuple(len(part.domain("a")) for part in parts.values()) == sizes


def test_the_division_is_random_and_the_seeds():
    model = cm.library.hierarchical_equality(12)
    found = [held_out(model, "verify", seed).domain("a").values for seed in range(200)]
    assert found == [held_out(model, "verify", seed).domain("a").values for seed in range(200)]
    assert chisquare(np.bincount(np.concatenate(found), minlength=12)).pvalue > 1e-4


def test_an_object_is_held_out_in_whatever_order_a_domain_lists_it():
    up, down = cm.Finite(range(8)), cm.Finite(reversed(range(8)))
    model = cm.CausalModel(
        "equal", {"a": up, "b": down, "c": cm.Finite("abcdefgh")}, {"same": lambda a, b, c: a == b or c == "a"}
    )
    for part in divided(model).values():
        assert part.domain("b").values == part.domain("a").values[::-1]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_answers_as_the_whole(name, part):
    model = MODELS[name]
    held = held_out(model, part, 3)
    assert list(held.graph) == list(model.graph)
    assert list(held.graph.edges) == list(model.graph.edges)
    assert (held.inputs, held.internal, held.outputs) == (model.inputs, model.internal, model.outputs)
    assert {v: held.domain(v) for v in held.equations} == {v: model.domain(v) for v in model.equations}
    for variable in held.equations:
        found = cm.pairs(held, [variable], 300, design="uniform")
        before, after = model.solve(found.base), model.interchange(found.base, found.sources)
        mine = held.interchange(found.base, found.sources)
        assert all(mine[v].tolist() == after[v].tolist() for v in model.graph)
        assert all(mine[v].dtype.kind == after[v].dtype.kind for v in model.graph)
        assert all(found.expected[v].tolist() == after[v].tolist() for v in model.outputs)
        assert found.changed.tolist() == np.logical_or.reduce([before[v] != after[v] for v in model.outputs]).tolist()


@pytest.mark.parametrize("name", MODELS)
def test_pairs_of_different_parts_share_no_key_and_the_whole_knows_them(name):
    model = MODELS[name]
    chosen = list(model.outputs[:1])
    keys = [set(pair_keys(model, cm.pairs(part, chosen, 500, design="uniform")).tolist()) for part in divided(model).values()]
    assert all(keys)
    assert not any(one & other for one, other in combinations(keys, 2))


def test_every_kind_of_mechanism_survives_division():
    """Tables over inputs and over other variables, formulas and functions, listed against the causal order, with and without
    domains."""
    x, y, z = sympy.symbols("x y z")
    numbers = cm.Finite(range(6))
    model = cm.CausalModel(
        "mixed",
        {"x": numbers, "y": numbers, "z": cm.Interval(0, 1), "word": cm.Finite("abcdef")},
        {
            "out": lambda far, told, letter: f"{far}{told}{letter}",
            "told": cm.Table(["parity"], {0: "even", 1: "odd"}),
            "parity": (x + y) % 2,
            "far": z > sympy.Rational(1, 2),
            "scaled": lambda z, y: y + z,
            "letter": cm.Table(["word", "x"], {(w, i): w * i for w, i in product("abcdef", range(6))}),
            "both": lambda scaled, x: scaled > x,
        },
        outputs=["out", "both"],
    )
    for part in divided(model).values():
        drawn = part.labels(Inputs(part).sample(np.random.default_rng(0), 200))
        mine, whole = part.solve(drawn), model.solve(drawn)
        assert list(part.graph) == list(model.graph)
        assert part.outputs == model.outputs
        assert all(mine[v].tolist() == whole[v].tolist() for v in model.graph)
        assert {v: part.known_domain(v) for v in part.equations} == {v: model.known_domain(v) for v in model.equations}
        assert len(part.domain("letter")) == 31


@pytest.mark.parametrize("model", WHOLE.values(), ids=WHOLE)
def test_where_nothing_can_be_divided_the_domains_are_told(model):
    with pytest.raises(PairsError) as told:
        held_out(model, "verify", 0)
    assert all(f"{v} in {model.domain(v)}" in str(told.value) for v in model.inputs)
    assert "heldout='pairs'" in str(told.value)


def test_a_part_that_does_not_exist_is_named():
    with pytest.raises(PairsError, match="no part 'training'; did you mean 'train'"):
        held_out(MODELS["equality"], "training", 0)


def test_ways_to_hold_out():
    assert [check_heldout(x) for x in ("pairs", "values")] == [[], []]
    assert check_heldout("value") == ["there is no way to hold out 'value'; did you mean 'values'?"]
    assert len(check_heldout(None)) == 1
