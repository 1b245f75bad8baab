import inspect
import os
import subprocess
import sys
from itertools import combinations, product
from string import digits

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import commute as cm
from commute.errors import ModelError

ROWS = 2000  # settings and pairs that are drawn where there are too many to list
LISTED = 2**14

DEFAULTS = {name: getattr(cm.library, name) for name in cm.library.__all__} | {
    "modular_addition": lambda: cm.library.modular_addition(7)
}


def settings(model):
    """Every setting of the inputs where they can be listed, otherwise some drawn at random."""
    domains = [model.domain(v) for v in model.inputs]
    if all(isinstance(d, cm.Finite) for d in domains) and np.prod([len(d) for d in domains]) <= LISTED:
        return [dict(zip(model.inputs, row, strict=True)) for row in product(*domains)]
    return drawn(model, ROWS, seed=0)


def drawn(model, n, seed):
    generator = np.random.default_rng(seed)
    columns = [d.decode(d.sample(generator, n)).tolist() for d in map(model.domain, model.inputs)]
    return [dict(zip(model.inputs, row, strict=True)) for row in zip(*columns, strict=True)]


def couples(model):
    """Every base with every source where they can be listed, otherwise some drawn at random."""
    listed = settings(model)
    if len(listed) ** 2 <= LISTED:
        return list(product(listed, listed))
    return list(zip(drawn(model, ROWS, seed=1), drawn(model, ROWS, seed=2), strict=True))


def as_batch(rows):
    return {v: [row[v] for row in rows] for v in rows[0]}


def check_solved(model, variables, by_hand):
    """`by_hand` gives the values of `variables` from the inputs."""
    rows = settings(model)
    solved = model.solve(as_batch(rows))
    found = list(zip(*(solved[v].tolist() for v in variables), strict=True))
    assert found == [by_hand(**row) for row in rows]


def check_interchanged(model, variables, by_hand):
    """`by_hand` gives the outputs from a base and a source of all of `variables`."""
    pairs = couples(model)
    bases, sources = as_batch([base for base, _ in pairs]), as_batch([source for _, source in pairs])
    solved = model.interchange(bases, dict.fromkeys(variables, sources))
    found = list(zip(*(solved[v].tolist() for v in model.outputs), strict=True))
    assert found == [by_hand(base, source) for base, source in pairs]


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_variable_is_described_and_finite(name):
    model = DEFAULTS[name]()
    said = inspect.getdoc(getattr(cm.library, name))
    for variable in model.graph:
        assert f"`{variable}`" in said or f"`{variable.rstrip(digits)}0`" in said, variable
        assert isinstance(model.domain(variable), cm.Finite)


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_internal_variable_can_change_an_answer(name):
    model = DEFAULTS[name]()
    for variable in model.internal:
        pairs = cm.pairs(model, [variable], 64)
        assert pairs.changed.any(), variable


@pytest.mark.parametrize(
    "model",
    [
        cm.library.modular_addition(1000),
        cm.library.two_digit_addition(1000),
        cm.library.maximum(3, values=1000),
        cm.library.indirect_object_identification(range(1000)),
        cm.library.multiple_choice(6, contents=range(30), symbols=range(30)),
        cm.library.price_tagging(cm.Interval(0, 10)),
        cm.library.bracket_balance(40),
    ],
    ids=lambda model: model.name,
)
def test_domains_are_known_where_tables_are_too_large(model):
    for variable in (*model.internal, *model.outputs):
        assert isinstance(model.domain(variable), cm.Finite)
    solved = model.solve(as_batch(drawn(model, 5, seed=0)))
    assert all(len(column) == 5 for column in solved.values())


def test_the_library_imports_no_torch():
    program = "import sys, commute.causal.library; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode == 0
    )


# Equality


@pytest.mark.parametrize("values", [1, 3, 8])
def test_hierarchical_equality_compares_two_comparisons(values):
    model = cm.library.hierarchical_equality(values)
    check_solved(model, ["left", "right", "same"], lambda a, b, c, d: (a == b, c == d, (a == b) == (c == d)))


def test_an_equality_of_another_input():
    model = cm.library.hierarchical_equality(3)
    check_interchanged(model, ["left"], lambda base, s: (((s["a"] == s["b"]) == (base["c"] == base["d"])),))
    check_interchanged(model, ["right"], lambda base, s: (((base["a"] == base["b"]) == (s["c"] == s["d"])),))


# Addition


@pytest.mark.parametrize("modulus", [1, 2, 11])
def test_modular_addition_and_its_sum_interchanged(modulus):
    model = cm.library.modular_addition(modulus)
    check_solved(model, ["sum", "answer"], lambda a, b: ((a + b) % modulus,) * 2)
    check_interchanged(model, ["sum"], lambda base, source: ((source["a"] + source["b"]) % modulus,))
    check_interchanged(model, ["a"], lambda base, source: ((source["a"] + base["b"]) % modulus,))


def written(number, base):
    tens, ones = divmod(number, base)
    return (*divmod(tens, base), ones)


@pytest.mark.parametrize("base", [2, 3, 10])
def test_two_digit_addition_is_addition(base):
    model = cm.library.two_digit_addition(base)
    assert model.outputs == ("hundreds", "tens", "ones")
    check_solved(model, ["hundreds", "tens", "ones"], lambda a1, a0, b1, b0: written(base * a1 + a0 + base * b1 + b0, base))


@pytest.mark.parametrize("base", [2, 10])
def test_the_carry_of_other_ones(base):
    def by_hand(kept, source):
        carried = source["a0"] + source["b0"] > base - 1
        tens = written(kept["a1"] + kept["b1"] + (1 if carried else 0), base)[1:]
        return (*tens, written(kept["a0"] + kept["b0"], base)[-1])

    check_interchanged(cm.library.two_digit_addition(base), ["carry"], by_hand)


def test_a_carry_by_hand():
    model = cm.library.two_digit_addition()
    solved = model.interchange({"a1": 4, "a0": 5, "b1": 5, "b0": 1}, {"carry": {"a1": 0, "a0": 9, "b1": 0, "b0": 9}})
    assert [solved[v] for v in model.outputs] == [1, 0, 6]  # 45 + 51 with a carry that is not there


# Names


def other(first, second, repeated):
    """Strike out the first occurrence of the name that is repeated."""
    left = [first, second]
    left.remove(left[repeated])
    return left[0]


def test_indirect_objects_are_the_name_that_is_not_repeated():
    model = cm.library.indirect_object_identification()
    check_solved(model, ["name", "answer"], lambda **row: (other(**row),) * 2)
    solved = model.solve({"first": "Mary", "second": "John", "repeated": 1})
    assert (solved["duplicate"], solved["position"], solved["answer"]) == (1, 0, "Mary")
    assert model.domain("answer") == model.domain("first")


def test_names_that_are_the_same_count_as_the_first_repeated():
    """Every variable follows from the text, in which the two inputs are the same."""
    model = cm.library.indirect_object_identification(["Mary", "John"])
    one, two = (model.solve({"first": "Mary", "second": "Mary", "repeated": repeated}) for repeated in (0, 1))
    del one["repeated"], two["repeated"]
    assert one == two
    assert one["duplicate"] == 0


def test_a_position_is_a_pointer_and_a_name_is_a_name():
    model = cm.library.indirect_object_identification(["Mary", "John", "Anna", "Paul"])

    def at_the_sources_position(base, source):
        names = [source["first"], source["second"]]
        struck = names.index(names[source["repeated"]])
        return ((base["second"], base["first"])[struck],)

    for variable in ("position", "duplicate"):
        check_interchanged(model, [variable], at_the_sources_position)
    check_interchanged(model, ["name"], lambda base, source: (other(**source),))
    base = {"first": "Mary", "second": "John", "repeated": 0}
    source = {"first": "Anna", "second": "Paul", "repeated": 1}
    assert model.interchange(base, {"position": source})["answer"] == "Mary"
    assert model.interchange(base, {"name": source})["answer"] == "Anna"


# Choices


def chosen(choices, question, **shown):
    matching = [i for i in range(choices) if shown[f"choice{i}"] == question]
    return matching[0] if matching else None


@pytest.mark.parametrize("model", [cm.library.multiple_choice(2, ["red", "blue"], ("A", "B")), cm.library.multiple_choice()])
def test_multiple_choice_points_and_reads(model):
    choices = sum(v.startswith("choice") for v in model.inputs)

    def symbol_at(row, pointer):
        return None if pointer is None else row[f"symbol{pointer}"]

    def by_hand(**row):
        pointer = chosen(choices, **row)
        return pointer, symbol_at(row, pointer)

    check_solved(model, ["pointer", "answer"], by_hand)
    check_interchanged(model, ["pointer"], lambda base, source: (symbol_at(base, chosen(choices, **source)),))
    check_interchanged(model, ["answer"], lambda base, source: (by_hand(**source)[1],))


def test_no_choice_and_several_choices():
    model = cm.library.multiple_choice(3)
    symbols = {"symbol0": "C", "symbol1": "A", "symbol2": "F"}
    none = model.solve({"question": "red", "choice0": "blue", "choice1": "green", "choice2": "blue", **symbols})
    several = model.solve({"question": "red", "choice0": "blue", "choice1": "red", "choice2": "red", **symbols})
    assert (none["pointer"], none["answer"]) == (None, None)
    assert (several["pointer"], several["answer"]) == (1, "A")


# Circuits

CIRCUITS = {f: f() for f in (cm.library.xor_direct, cm.library.xor_or_and_nand, cm.library.xor_nand)}


@pytest.mark.parametrize("model", CIRCUITS.values(), ids=lambda model: model.name)
def test_the_circuits_are_one_function(model):
    assert (model.inputs, model.outputs) == (("a", "b"), ("xor",))
    check_solved(model, ["xor"], lambda a, b: ((a, b) in {(True, False), (False, True)},))


def effect(model, variables):
    """The answers of every base with every source of all of `variables`."""
    pairs = couples(model)
    return tuple(model.interchange(base, dict.fromkeys(variables, source))["xor"] for base, source in pairs)


def test_the_circuits_differ_inside():
    direct, gates, nands = CIRCUITS.values()
    assert [m.internal for m in (direct, gates, nands)] == [(), ("either", "not_both"), ("not_both", "left", "right")]
    assert effect(gates, ["not_both"]) == effect(nands, ["not_both"])  # (a or b) and m is nand(nand(a, m), nand(b, m))
    sets = [names for n in (1, 2, 3) for names in combinations((*nands.inputs, *nands.internal), n)]
    assert effect(gates, ["either"]) not in {effect(nands, names) for names in sets}


def test_interchanged_gates():
    _, gates, nands = CIRCUITS.values()
    check_interchanged(gates, ["either"], lambda base, s: (max(s.values()) and not min(base.values()),))
    check_interchanged(gates, ["not_both"], lambda base, s: (max(base.values()) and not min(s.values()),))
    # left says: not a alone; right says: not b alone
    check_interchanged(nands, ["left"], lambda base, s: ((s["a"] > s["b"]) or (base["b"] > base["a"]),))
    check_interchanged(nands, ["right"], lambda base, s: ((base["a"] > base["b"]) or (s["b"] > s["a"]),))


# Prices


def test_prices_within_bounds():
    model = cm.library.price_tagging()
    check_solved(
        model,
        ["above_lower", "below_upper", "in_bracket"],
        lambda lower, upper, amount: (
            not amount < lower,
            not amount > upper,
            sorted((lower, amount, upper)) == [lower, amount, upper],
        ),
    )
    solved = model.solve({"lower": 2.5, "upper": 2.5, "amount": 2.5})
    assert solved["in_bracket"] is True
    assert model.solve({"lower": 2.5, "upper": 2.25, "amount": 2.25})["in_bracket"] is False


@pytest.mark.parametrize("amounts", [cm.Finite(range(4)), cm.Interval(0, 10)], ids=str)
def test_one_bound_of_another_price(amounts):
    model = cm.library.price_tagging(amounts)
    check_interchanged(model, ["above_lower"], lambda base, s: (s["lower"] <= s["amount"] and base["amount"] <= base["upper"],))
    check_interchanged(model, ["below_upper"], lambda base, s: (base["lower"] <= base["amount"] and s["amount"] <= s["upper"],))


# Brackets


def reduces(text):
    """Whether nothing is left when pairs of brackets are struck out."""
    while "()" in text:
        text = text.replace("()", "")
    return not text


@given(st.text("()", min_size=1, max_size=12))
def test_brackets_are_balanced_when_pairs_strike_out(text):
    model = cm.library.bracket_balance(len(text))
    solved = model.solve(dict(zip(model.inputs, text, strict=True)))
    assert solved["balanced"] == reduces(text)
    for i in range(len(text)):
        before = text[: i + 1]
        assert solved[f"depth{i}"] == before.count("(") - before.count(")")
        assert solved[f"below{i}"] == any(before[: k + 1].count("(") < before[: k + 1].count(")") for k in range(i + 1))


@pytest.mark.parametrize("length", [1, 2, 6])
def test_all_brackets(length):
    check_solved(cm.library.bracket_balance(length), ["balanced"], lambda **row: (reduces("".join(row.values())),))


@pytest.mark.parametrize("place", range(4))
def test_the_depth_and_the_fall_of_other_brackets(place):
    model = cm.library.bracket_balance(4)

    def depths(row):
        return np.cumsum([1 if bracket == "(" else -1 for bracket in row.values()])

    def other_depth(base, source):
        reached = depths(base)
        reached[place:] += depths(source)[place] - reached[place]
        return (bool(reached[-1] == 0 and reached.min() >= 0),)

    def other_below(base, source):
        fell = depths(source)[: place + 1].min() < 0 or (depths(base)[place + 1 :] < 0).any()
        return (bool(depths(base)[-1] == 0 and not fell),)

    check_interchanged(model, [f"depth{place}"], other_depth)
    check_interchanged(model, [f"below{place}"], other_below)


# Maxima


@pytest.mark.parametrize(("length", "values"), [(1, 1), (1, 5), (3, 4), (4, 10)])
def test_the_maximum_of_all_and_of_the_first_few(length, values):
    model = cm.library.maximum(length, values)
    check_solved(model, ["maximum"], lambda **row: (max(row.values()),))
    check_solved(model, [f"largest{length // 2}"], lambda **row: (max(list(row.values())[: length // 2 + 1]),))


@pytest.mark.parametrize("place", range(3))
def test_the_largest_so_far_of_other_numbers(place):
    def by_hand(base, source):
        return (max(*list(source.values())[: place + 1], *list(base.values())[place + 1 :], 0),)

    check_interchanged(cm.library.maximum(3, values=4), [f"largest{place}"], by_hand)
    check_interchanged(cm.library.maximum(5), [f"largest{place}"], by_hand)


# Arguments


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cm.library.hierarchical_equality(0), "values must be a whole number of at least 1; given 0"),
        (lambda: cm.library.hierarchical_equality("abc"), "values must be a whole number of at least 1; given 'abc'"),
        (lambda: cm.library.modular_addition(0), "modulus must be a whole number of at least 1; given 0"),
        (lambda: cm.library.modular_addition(True), "modulus must be a whole number of at least 1; given True"),
        (lambda: cm.library.two_digit_addition(1), "base must be a whole number of at least 2; given 1"),
        (lambda: cm.library.two_digit_addition(2.5), "base must be a whole number of at least 2; given 2.5"),
        (lambda: cm.library.indirect_object_identification(["Mary"]), r"names must be a list of at least 2 .*; given \['Mary'\]"),
        (lambda: cm.library.indirect_object_identification("Mary"), "names must be a list of at least 2 .*; given 'Mary'"),
        (lambda: cm.library.indirect_object_identification(["Mary", "Mary"]), "names: .* 'Mary' occurs twice"),
        (lambda: cm.library.multiple_choice(0), "choices must be a whole number of at least 1; given 0"),
        (lambda: cm.library.multiple_choice(contents=[]), r"contents must be a list of at least 1 .*; given \[\]"),
        (lambda: cm.library.multiple_choice(symbols=3), "symbols must be a list of at least 1 .*; given 3"),
        (lambda: cm.library.multiple_choice(symbols=["A", "A"]), "symbols: .* 'A' occurs twice"),
        (lambda: cm.library.price_tagging([1, 2]), r"'lower' must be a Finite or an Interval; given \[1, 2\]"),
        (lambda: cm.library.price_tagging(cm.Finite([1, "a"])), "'above_lower' raised TypeError"),
        (lambda: cm.library.bracket_balance(0), "length must be a whole number of at least 1; given 0"),
        (lambda: cm.library.maximum(length=0), "length must be a whole number of at least 1; given 0"),
        (lambda: cm.library.maximum(values=-1), "values must be a whole number of at least 1; given -1"),
    ],
)
def test_bad_arguments_are_named(make, said):
    with pytest.raises(ModelError, match=said):
        make()
