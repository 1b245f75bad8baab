import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.alignments.accuracy import agreement
from commute.alignments.binomial import count
from commute.proofs.regions import _condition, _real, _Term, _term, describe
from tests import planted

DIGITS = cm.Finite(range(8))
ANIMALS = cm.Finite(("owl", "cat", "dog", "fox", "hen"))
ASKED = {"at_least": 0.95, "confidence": 0.99}


def is_left(a, b):
    return a == b


def out(is_left, c, gate):
    return (is_left == (c > 3)) != gate


ALGORITHM = cm.CausalModel(
    "gated",
    inputs={"gate": cm.Bool, "a": DIGITS, "b": DIGITS, "c": DIGITS, "pet": ANIMALS, "warmth": cm.Interval(0, 1)},
    mechanisms=[is_left, out],
)
PAIRS = cm.pairs(ALGORITHM, ["is_left"], 4000)
BASE = ALGORITHM.solve(PAIRS.base)
SOURCE = ALGORITHM.solve(PAIRS.sources["is_left"])


def right_where(holds, by_chance=0.5):
    """Right answers where it holds; elsewhere some are right as well."""
    return holds | (np.random.default_rng(0).random(len(holds)) < by_chance)


PLANTED = [
    (~BASE["gate"], {"base gate = False"}),
    (BASE["gate"], {"base gate = True"}),
    (SOURCE["is_left"], {"source is_left = True"}),
    (BASE["out"], {"base out = True"}),
    (BASE["a"] != 3, {"base a ≠ 3"}),
    (BASE["a"] == 3, {"base a = 3"}),
    (BASE["a"] <= 4, {"base a ≤ 4"}),
    (BASE["a"] >= 5, {"base a ≥ 5"}),
    ((BASE["a"] >= 2) & (BASE["a"] <= 5), {"2 ≤ base a ≤ 5"}),
    ((BASE["a"] != 2) & (BASE["a"] != 5), {"base a ∉ {2, 5}"}),
    ((BASE["a"] <= 5) & (BASE["a"] != 2), {"base a ≤ 5 but ≠ 2"}),
    (BASE["pet"] == "dog", {"base pet = dog"}),
    ((BASE["pet"] != "dog") & (BASE["pet"] != "owl"), {"base pet ∉ {owl, dog}"}),
    (~BASE["gate"] & SOURCE["is_left"] & (BASE["b"] >= 4), {"base gate = False", "source is_left = True", "base b ≥ 4"}),
]


@pytest.mark.parametrize("by_chance", [0, 0.5])
@pytest.mark.parametrize(("holds", "conditions"), PLANTED, ids=[" and ".join(sorted(c)) for _, c in PLANTED])
def test_a_planted_region_is_found_and_counted_on_pairs_that_did_not_choose_it(holds, conditions, by_chance):
    right = right_where(holds, by_chance)
    region = describe(ALGORITHM, PAIRS, right, what="v", **ASKED)
    assert set(region.conditions) == conditions
    assert region.inside.total + region.outside.total == len(PAIRS) // 2
    assert region.inside.rate == 1
    assert region.inside.total == pytest.approx(holds.sum() / 2, rel=0.1)
    assert region.outside.rate == pytest.approx(by_chance, abs=0.08)
    assert (region.lower, region.upper) == (region.inside.lower(0.99), 1)


def test_a_real_variable_is_asked_for_a_range():
    region = describe(ALGORITHM, PAIRS, right_where(BASE["warmth"] <= 0.5), what="v", **ASKED)
    (condition,) = region.conditions
    variable, end = condition.rsplit(" ≤ ", 1)
    assert variable == "base warmth"
    assert 0.4 < float(end) < 0.53  # an end of a bin, about the last one below
    assert region.inside.rate > 0.99


def test_the_bins_of_a_real_variable_end_where_the_words_say():
    column = np.random.default_rng(0).normal(size=1000)
    term = _real("base x", column)
    for first, last in ((0, 4), (5, 9), (20, term.size - 1)):
        allowed = (np.arange(term.size) >= first) & (np.arange(term.size) <= last)
        words = _condition(term, allowed)
        met = [eval(words.replace("≤", "<=").replace("base x", "x"), {"x": x}) for x in column]
        assert (met == allowed[term.codes]).all()


@given(st.permutations([-2, 0, 1, 1.5, 7]), st.sets(st.integers(0, 4), min_size=1, max_size=4))
def test_words_say_which_labels_are_in(labels, kept):
    """Whatever the order of a domain: the words, read as Python, are true of the labels that are in and of no others."""
    domain = cm.Finite(labels)
    column = domain.decode(np.arange(5))
    term = _term("base x", domain, column)
    allowed = np.isin(np.arange(5), list(kept))
    words = _condition(term, allowed)
    for old, new in (("≤", "<="), ("≥", ">="), ("≠", "!="), ("∉", "not in"), (" = ", " == "), ("but", "and x"), ("base x", "x")):
        words = words.replace(old, new)
    assert [bool(eval(words, {"x": x})) for x in column] == allowed[term.codes].tolist()


def test_errors_at_random_are_no_region():
    generator = np.random.default_rng(1)
    for rate in (0, 0.5, 0.9, 0.97, 1):
        assert describe(ALGORITHM, PAIRS, generator.random(len(PAIRS)) < rate, what="v", **ASKED) is None


def test_a_region_must_reach_what_is_claimed():
    generator = np.random.default_rng(2)
    right = np.where(BASE["gate"], generator.random(len(PAIRS)) < 0.5, generator.random(len(PAIRS)) < 0.93)
    assert describe(ALGORITHM, PAIRS, right, what="v", **ASKED) is None
    region = describe(ALGORITHM, PAIRS, right, what="v", at_least=0.85, confidence=0.99)
    assert region.lower >= 0.85
    assert "base gate = False" in region.conditions


def test_bounds_stay_true_although_the_region_was_chosen():
    """Errors at random again: of a region that is chosen among many, a bound from the pairs that chose it would mislead."""
    wrong, found = 0, 0
    for seed in range(150):
        generator = np.random.default_rng(seed)
        pairs = PAIRS[400 * (seed % 10) : 400 * (seed % 10) + 400]
        gate = BASE["gate"][400 * (seed % 10) : 400 * (seed % 10) + 400]
        right = generator.random(400) < np.where(gate, 0.3, 0.8)
        region = describe(ALGORITHM, pairs, right, what="v", at_least=0.6, confidence=0.8, seed=seed)
        found += region is not None
        wrong += region is not None and region.lower > 0.8
    assert found > 40
    assert wrong / 150 <= 0.2 + 3 * (0.2 * 0.8 / 150) ** 0.5


def test_the_same_seed_gives_the_same_region():
    right = right_where(BASE["a"] <= 4)
    found = [describe(ALGORITHM, PAIRS, right, what="v", **ASKED, seed=seed) for seed in (5, 5, 6)]
    assert found[0] == found[1] != found[2]
    assert found[0].conditions == found[2].conditions


def test_every_source_of_several_is_asked_for():
    algorithm = planted.algorithm()
    pairs = cm.pairs(algorithm, ["left", "right"], 4000)
    values = {v: algorithm.solve(pairs.sources[v])[v] for v in ("left", "right")}
    region = describe(algorithm, pairs, right_where(values["left"] & ~values["right"]), what="v", **ASKED)
    assert set(region.conditions) == {"source left = True", "source right = False"}


def test_a_network_that_is_wrong_by_a_leak():
    """A network that errs where a = 0 and left changes is described as right where a is not 0."""
    algorithm = planted.algorithm()
    pairs = cm.pairs(algorithm, ["left"], 4000)
    right = agreement(planted.network("leak"), planted.alignment(), pairs)
    region = describe(algorithm, pairs, right, what="v", at_least=0.99, confidence=0.99)
    assert region.conditions == ("base a ≠ 0",)
    assert region.inside.rate == 1 > region.outside.rate
    assert count(right).rate < 0.97


def test_small_corners_are_no_region():
    """A region has a twentieth of the pairs, however right it is."""
    corner = (BASE["a"] == 3) & (BASE["b"] == 5)
    assert describe(ALGORITHM, PAIRS, right_where(corner, 0.2), what="v", at_least=0.3, confidence=0.9) is None


def test_what_has_no_bounds_or_no_variables_has_no_region():
    right = right_where(~BASE["gate"])
    picked = np.arange(len(PAIRS))
    assert not PAIRS[picked].independent
    assert describe(ALGORITHM, PAIRS[picked], right, what="v", **ASKED) is None
    assert describe(ALGORITHM, PAIRS[:3], right[:3], what="v", **ASKED) is None
    with pytest.raises(cm.CommuteError, match="one answer for each of 4000 pairs; given 10"):
        describe(ALGORITHM, PAIRS, right[:10], what="v", **ASKED)


def test_variables_that_cannot_be_compared_are_left_out():
    """Those of unknown domain that are no numbers, and labels beyond those that are asked for one by one."""
    words = np.array(["to", "be"], dtype=object)
    assert _term("base x", None, words) is None
    many = cm.Finite([f"w{i}" for i in range(200)])
    assert list(_term("base x", many, many.decode(np.arange(200))).asked()) == []
    numbers = cm.Finite(range(200))
    assert list(_term("base x", numbers, np.arange(200)).asked()) == [None]
    assert list(_term("base x", cm.Bool, np.array([True])).asked()) == [1]
    assert list(_term("base x", None, np.array([1, 2, 2])).asked()) == [None]
    assert isinstance(_real("base x", np.ones(4)), _Term)
