"""Searching for failing pairs: what is found, how small it is, and that nothing is left behind."""

import random
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import configuration, given
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase
from torch import nn

import commute as cm
from commute.errors import AlignmentError, ModelError, NetworkError, PairsError
from commute.proofs import descending, falsifying
from commute.proofs import refute as refuting
from commute.proofs.counterexample import Counterexample
from commute.proofs.refute import refute
from commute.proofs.replaying import Trial, nearby, replay
from commute.proofs.shrinking import fewer, shrunk, smallest
from commute.proofs.smallness import earlier, order, sizes, smaller
from tests import planted

ALGORITHM, ALIGNMENT = planted.algorithm(), planted.alignment()


def trial(fault, *variables, **options):
    return Trial(ALGORITHM, planted.network(fault), ALIGNMENT, variables, **options)


def failing(asked, n=2000):
    """Failing pairs among `n` uniform ones."""
    drawn = cm.pairs(asked.algorithm, asked.variables, n, design="uniform")
    codes = asked.coded(drawn.base, drawn.sources)
    return codes[asked.differ(codes)]


def every(*, variables):
    """All pairs of planted variables whose sources differ from the base in no more inputs than there are variables."""
    bases = np.array(list(product(range(planted.VALUES), repeat=4)), dtype=float)
    found = [np.repeat(bases[:, None], 1 + variables, axis=1)]
    places = list(product(range(1, 1 + variables), range(4)))
    for size in range(1, variables + 1):
        for chosen in combinations(places, size):
            for shifts in product(range(1, planted.VALUES), repeat=size):
                moved = found[0].copy()
                for (side, i), shift in zip(chosen, shifts, strict=True):
                    moved[:, side, i] = (moved[:, side, i] + shift) % planted.VALUES
                found.append(moved)
    return np.concatenate(found)


def told(example):
    """How small a pair is, by another implementation: compare the tuples."""
    sides = [example.base, *example.sources.values()]
    moved = sum(side[v] != example.base[v] for side in sides for v in side)
    places = [ALGORITHM.domain(v).values.index(side[v]) for side in sides for v in ALGORITHM.inputs]
    return len(sides), moved, places


@pytest.mark.parametrize(("fault", "variables"), [("leak", ["left"]), ("true to false", ["left"]), ("backup", ["left", "right"])])
def test_the_smallest_failing_pair_is_found(fault, variables):
    """As by going through all pairs that could be smaller, of which none of fewer variables fails."""
    found = refute(ALGORITHM, planted.network(fault), ALIGNMENT).counterexample
    assert list(found.sources) == variables
    for less in range(len(variables)):
        for fewer_variables in combinations(variables, less):
            asked = trial(fault, *fewer_variables)
            alone = np.array(list(product(range(4), repeat=4)), dtype=float)
            both = (
                [np.stack([a, b], 1) for a, b in ((alone.repeat(256, 0), np.tile(alone, (256, 1))),)]
                if less
                else [alone[:, None]]
            )
            assert not asked.differ(both[0]).any()
    asked = trial(fault, *variables)
    pairs = every(variables=len(variables))
    fail = pairs[asked.differ(pairs)]
    first = fail[order(sizes(fail, asked.domains))[0]]
    assert asked.coded(found.base, found.sources)[0].tolist() == first.tolist()
    assert min(told(asked.example(p, "")) for p in fail[:: max(len(fail) // 50, 1)]) >= told(found)


def test_a_true_network_survives_the_pairs_that_were_screened():
    found = refute(ALGORITHM, planted.network(), ALIGNMENT, pairs=20_000)
    assert found.counterexample is None
    assert (found.screened, found.failing, found.stepped, found.remembered) == (20_000, 0, 0, False)
    assert str(found) == "none of 20,000 pairs of sets of left, right fails (seed 0)"
    assert refute(ALGORITHM, planted.network("backup"), ALIGNMENT, pairs=20).screened <= 20


def test_sets_of_variables_are_those_asked_for():
    network = planted.network("backup")
    assert refute(ALGORITHM, network, ALIGNMENT, variables=["left"], pairs=5000).counterexample is None
    assert refute(ALGORITHM, network, ALIGNMENT, variables=["right", "left"], pairs=5000).counterexample is not None


class Screened(nn.Module):
    """Three inputs of eight values, of which `left` is whether the first two are equal; wrong where `wrong` says so."""

    def __init__(self, wrong):
        super().__init__()
        self.hidden, self.wrong = nn.Identity(), wrong

    def forward(self, x):
        left = self.hidden((x[:, 0] == x[:, 1]).float()[:, None])[:, 0] > 0.5
        return (left != (x[:, 2] > 0)) != self.wrong(x, left)


def screened(values, wrong):
    shapes = cm.Finite(range(values))
    algorithm = cm.CausalModel(
        "screened", dict.fromkeys("abc", shapes), {"left": lambda a, b: a == b, "out": lambda left, c: left != (c > 0)}
    )
    network = cm.Network(
        Screened(wrong), encode=lambda x: torch.from_numpy(np.stack([x[v] for v in "abc"], 1)), decode=lambda out: out
    )
    return algorithm, network, cm.Alignment({"left": cm.Feature(cm.Site("hidden"))})


def test_a_failure_of_one_pair_in_fifty_thousand_is_found():
    """One base of 8,000, once left is true: one pair in 30,400 of the balanced design, in 160,000 of the uniform one."""
    rare = torch.tensor([19, 4, 11])
    claim = screened(20, lambda x, left: (x == rare).all(1) & left)
    found = refute(*claim, pairs=400_000)
    assert found.counterexample.base == {"a": 19, "b": 4, "c": 11}
    assert list(found.counterexample.sources) == ["left"]
    assert found.failing < 5
    assert found.screened > 5000


def rugged(seed):
    """A network that is wrong at random places once left is another than its own, so that there is no simple way down."""
    table = torch.from_numpy(np.random.default_rng(seed).random((6, 6, 6)) < 0.05)
    return screened(6, lambda x, left: table[x[:, 0], x[:, 1], x[:, 2]] & (left != (x[:, 0] == x[:, 1])))


@pytest.mark.parametrize("seed", range(5))
def test_no_change_of_one_input_makes_a_smaller_pair_that_fails(seed):
    """Tried one by one, in each side and wherever the sides share what the base holds."""
    claim = rugged(seed)
    found = refute(*claim, seed=seed).counterexample
    assert found.differs
    assert replay(*claim, found.base, found.sources).differs
    tried = 0
    for v, label in product("abc", range(6)):
        for changed in ("base", "everywhere", *found.sources):
            base = {**found.base, v: label} if changed in ("base", "everywhere") else found.base
            sources = {
                k: {**s, v: label} if changed == k or (changed == "everywhere" and s[v] == found.base[v]) else s
                for k, s in found.sources.items()
            }
            if place(base, sources) < place(found.base, found.sources):
                assert not replay(*claim, base, sources).differs
                tried += 1
    assert tried
    assert not replay(*claim, found.base, {}).differs  # it fails with no fewer variables


def place(base, sources):
    moved = sum(source[v] != base[v] for source in sources.values() for v in base)
    return len(sources), moved, [side[v] for side in (base, *sources.values()) for v in base]


@pytest.mark.parametrize("seed", range(3))
def test_what_matters_is_what_can_be_changed_to_mend_it(seed):
    claim = rugged(seed)
    found = refute(*claim).counterexample
    mended = []
    for side, v in product(("base", *found.sources), "abc"):
        old = found.base if side == "base" else found.sources[side]
        for label in range(6):
            base = {**old, v: label} if side == "base" else found.base
            sources = {k: {**old, v: label} if k == side else s for k, s in found.sources.items()}
            if label != old[v] and not replay(*claim, base, sources).differs:
                mended.append(f"{side}.{v}")
    assert found.matters == tuple(dict.fromkeys(mended))


def test_what_matters_of_a_leak_is_the_base_input_that_it_needs():
    found = refute(ALGORITHM, planted.network("leak"), ALIGNMENT).counterexample
    assert found.matters == ("base.a", "base.b", "left.a", "left.b")  # not c and d, which left does not read
    assert "what matters: base.a" in str(found)


def test_a_network_that_is_wrong_by_itself_needs_no_variable():
    claim = screened(4, lambda x, left: x[:, 2] == 3)
    found = refute(*claim).counterexample
    assert (found.base, found.sources) == ({"a": 0, "b": 0, "c": 3}, {})
    assert found.matters == ("base.c",)


def test_hypothesis_and_the_batched_shrinker_agree():
    for fault, variables in (("leak", ("left",)), ("backup", ("left", "right"))):
        asked = trial(fault, *variables)

        def fails(drawn, asked=asked):
            return bool(replace(asked, variables=drawn[0]).compared(drawn[1][None])[1][0])

        for pair in failing(asked)[:2]:
            chosen, found = falsifying.shrunk_by_hypothesis(ALGORITHM, ("left", "right"), (variables, pair), fails, tried=1000)
            assert chosen == variables
            assert asked.differ(found[None]).all()
            assert smaller(sizes(found[None], asked.domains), sizes(pair[None], asked.domains)[0]).all()
            assert smallest(asked, found).tolist() == smallest(asked, pair).tolist()


def test_hypothesis_reads_every_pair_as_it_is_written():
    """The choices of a pair are those that the strategy draws it by, for all kinds of domains."""
    algorithm = cm.CausalModel(
        "kinds",
        {"one": cm.Finite(["only"]), "two": cm.Bool, "many": cm.Finite(range(300)), "some": cm.Interval(-1, 2.5)},
        {"v": lambda two: two, "w": lambda v, one: v},
    )
    for variables in ((), ("v",), ("w",), ("v", "w")):
        generator = np.random.default_rng(len(variables))
        pair = np.stack([np.zeros(3), [0, 1, 1], generator.integers(300, size=3), generator.uniform(-1, 2.5, 3)], 1)
        pair = pair[: 1 + len(variables)]
        seen = []
        falsifying.shrunk_by_hypothesis(algorithm, ("v", "w"), (variables, pair), lambda drawn, seen=seen: seen.append(drawn))
        assert seen[0][0] == variables
        assert seen[0][1].tolist() == pair.tolist()


def test_shrinking_is_bounded():
    """Hypothesis asks no more often than it may, and none are tried beyond a budget."""
    asked = trial("leak", "left")
    pair, seen = failing(asked)[0], []

    def fails(drawn):
        seen.append(drawn)
        return bool(asked.compared(drawn[1][None])[1][0]) and drawn[0] == ("left",)

    small = falsifying.shrunk_by_hypothesis(ALGORITHM, ("left",), (("left",), pair), fails, tried=9)
    assert len(seen) == 9
    assert asked.differ(small[1][None]).all()
    assert smallest(asked, pair, budget=0) is pair


def test_fewer_variables_are_tried_first():
    asked = trial("leak", "left", "right")
    pair = next(p for p in failing(asked) if trial("leak", "left").differ(p[None, :2]).all())
    less, kept = fewer(asked, pair)
    assert less.variables == ("left",)
    assert kept.tolist() == pair[:2].tolist()


UNIT = cm.Interval(0, 1)


class Margin(nn.Module):
    """Right but for an interval of `width` around one value, towards which its margin falls."""

    def __init__(self, width):
        super().__init__()
        self.hidden, self.width = nn.Identity(), width

    def forward(self, inputs):
        x, y = inputs.unbind(1)
        hidden = self.hidden(torch.stack([(x > 0.5).double(), x], 1))
        right = (hidden[:, 0] > 0.5) == (y > 0.5)
        margin = torch.where(y > 0.5, (x - 0.37).abs() - self.width / 2, 1.0)
        score = torch.where(right, margin, -margin)
        return torch.stack([-score, score], 1)


def continuous(width, decode=lambda scores: scores.argmax(-1).bool()):
    algorithm = cm.CausalModel(
        "continuous",
        {"x": UNIT, "y": UNIT},
        {"high": lambda x: x > 0.5, "same": lambda high, y: high == (y > 0.5)},
        domains={"high": cm.Bool, "same": cm.Bool},
    )
    network = cm.Network(Margin(width), encode=lambda z: torch.from_numpy(np.stack([z["x"], z["y"]], 1)), decode=decode)
    return algorithm, network, cm.Alignment({"high": cm.Feature(cm.Site("hidden"), dims=(0,))})


def test_gradient_steps_find_a_failure_in_a_tiny_interval(monkeypatch):
    found = refute(*continuous(1e-6), pairs=20_000)
    assert found.counterexample.base == {"x": 0.37, "y": 1.0}  # the simplest numbers there are
    assert found.counterexample.matters == ("base.x", "base.y")
    assert found.failing <= found.stepped < 100
    monkeypatch.setattr(refuting, "descended", lambda margins, pairs: pairs)
    assert refute(*continuous(1e-6), pairs=20_000).counterexample is None


class Sum(nn.Module):
    """Whether x + y is above 1 in single precision, as the algorithm says in double, but where `wrong` says so."""

    def __init__(self, wrong):
        super().__init__()
        self.hidden, self.wrong = nn.Identity(), wrong

    def forward(self, inputs):
        above = self.hidden(inputs.sum(1, keepdim=True))[:, 0] - 1
        return torch.where(self.wrong(*inputs.unbind(1)), -above, above)


def summed(wrong=lambda x, y: torch.zeros(len(x), dtype=torch.bool)):
    """A claim of x + y > 1."""
    algorithm = cm.CausalModel(
        "summed", {"x": UNIT, "y": UNIT}, {"s": lambda x, y: x + y, "o": lambda s: s > 1}, domains={"s": cm.Interval(0, 2)}
    )

    def encode(inputs):
        return torch.from_numpy(np.stack([inputs["x"], inputs["y"]], 1)).float()

    network = cm.Network(Sum(wrong), encode=encode, decode=lambda above: above > 0)
    return algorithm, network, cm.Alignment({"s": cm.Feature(cm.Site("hidden"))})


def turns(claim, found):
    """Whether the algorithm gives another answer once one number is moved a little, one by one."""
    answers = set()
    for side, v, step in product(("base", *found.sources), "xy", (-1e-5, 1e-5)):
        sides = {name: dict(x) for name, x in (("base", found.base), *found.sources.items())}
        sides[side][v] = min(max(sides[side][v] + step, 0), 1)
        answers.add(claim[0].interchange(sides.pop("base"), sides)["o"])
    return answers != {found.expected["o"]}


def test_rounding_at_an_edge_of_the_algorithm_is_no_failure(monkeypatch):
    """By themselves gradient steps lead to where double precision is past 1 and single precision is at it."""
    claim = summed()
    edge = replay(*claim, {"x": 1e-8, "y": 1.0}, {})
    assert edge.differs
    assert turns(claim, edge)
    assert shrunk(*claim, edge) is edge
    found = refute(*claim, pairs=20_000)
    assert (found.counterexample, found.failing, found.screened) == (None, 0, 20_000)
    monkeypatch.setattr(Trial, "but_at_edges", lambda _, pairs, differ: differ)
    assert refute(*claim, pairs=20_000).counterexample is not None


@pytest.mark.parametrize("seed", range(3))
def test_a_failure_is_found_and_shrunk_away_from_edges(seed):
    claim = summed(lambda x, y: (x >= 0.3) & (x <= 0.31))
    found = refute(*claim, seed=seed, pairs=20_000)
    example = found.counterexample
    assert (example.slice, example.sources) == ("no intervention", {})
    assert str(example).startswith("no intervention: base x=0.3")
    assert example.differs
    assert not turns(claim, example)
    assert 0.3 <= example.base["x"] <= 0.31


def test_the_smallest_pair_is_not_at_an_edge():
    """By rounding alone (1e-8, 1) would be smaller than what fails where y is below 0.5."""
    claim = summed(lambda x, y: y < 0.5)
    example = refute(*claim, pairs=20_000).counterexample
    assert example.base["y"] < 0.5
    assert not turns(claim, example)
    asked = Trial(*claim, ())
    at_edge, wrong = [[[1e-8, 1.0]], [[0.9, 0.4]]]
    pairs = np.array([at_edge, wrong, [[0.2, 0.9]]])
    assert asked.differ(pairs).tolist() == [True, True, False]
    assert asked.but_at_edges(pairs, asked.differ(pairs)).tolist() == [False, True, False]
    agree, fail = asked.compared(pairs)
    assert (agree.tolist(), fail.tolist()) == ([False, False, True], [False, True, False])


def test_gradient_steps_leave_edges_alone():
    """The margin is lowest right at the edge, where none of the pairs reached is to be; nor do they stop for one that is."""
    algorithm, network, alignment = summed()
    scored = replace_decode(network, lambda above: torch.stack([-above, above], 1).argmax(-1).bool())
    asked = Trial(algorithm, scored, alignment, ())
    pairs = np.array([[[1e-8, 1.0]], [[0.4, 0.9]]])
    margins = descending.Margins.of(asked, pairs)
    assert np.isinf(margins.counted(pairs)).tolist() == [True, False]
    reached = descending.descended(margins, pairs)
    assert not asked.differ(reached).any()
    assert (margins.counted(reached) < margins.counted(pairs)).all()
    assert margins.counted(reached)[1] < 1e-4


def test_edges_are_of_labels_and_of_what_can_be_asked_alone():
    """A number jumps nowhere; nor does an answer where those close by cannot be asked for."""
    algorithm = cm.CausalModel("number", {"x": UNIT}, {"v": lambda x: 2 * x, "o": lambda v: v}, domains={"v": cm.Interval(0, 2)})
    alignment, pairs = cm.Alignment({"v": cm.Feature(cm.Site("hidden"))}), np.array([[[0.5]], [[0.7]]])
    assert Trial(algorithm, None, alignment, ()).but_at_edges(pairs, np.ones(2, dtype=bool)).all()
    narrow = cm.CausalModel("narrow", {"x": UNIT}, {"v": lambda x: x, "o": lambda v: v > 0.5}, domains={"v": cm.Interval(0, 0.5)})
    assert Trial(narrow, None, alignment, ()).but_at_edges(pairs[:1], np.ones(1, dtype=bool)).all()


def test_what_is_close_by():
    """Each continuous input of each side up and down by itself, within its domain; labels stay."""
    near = nearby(np.array([[[0.0, 2, 5.0], [1.0, 1, 7.0]]]), [cm.Interval(0, 1), cm.Finite(range(4)), cm.Interval(0, 10)])
    steps = np.zeros((8, 2, 3))
    steps[1, 0, 0], steps[4, 1, 0] = 1e-5, -1e-5
    steps[2:4, 0, 2] = steps[6:, 1, 2] = -1e-4, 1e-4
    assert near[0] - [[0.0, 2, 5.0], [1.0, 1, 7.0]] == pytest.approx(steps)


def test_without_scores_continuous_inputs_are_screened_alone():
    claim = continuous(1e-6, lambda scores: [bool(s[1] > s[0]) for s in scores.tolist()])
    found = refute(*claim, pairs=2000)
    assert (found.counterexample, found.stepped, found.screened) == (None, 0, 2000)
    found = refute(*continuous(0.2, claim[1].decode), pairs=2000)
    assert found.counterexample.base == {"x": 0.3, "y": 1.0}


def test_steps_stay_in_the_domain_and_in_what_is_given():
    algorithm, network, alignment = continuous(1e-6)
    asked = Trial(algorithm, network, alignment, ("high",), given=lambda x: x > 0.6)
    pairs = np.random.default_rng(0).uniform(0.7, 1, (8, 2, 2))
    reached = descending.descended(descending.Margins.of(asked, pairs), pairs)
    assert (reached[:, :, 0] > 0.6).all()
    assert (reached <= 1).all()
    assert (reached[:, 0, 0] < pairs[:, 0, 0]).all()  # closer, as far as it may be
    assert descending.Margins.of(trial("", "left"), every(variables=1)[:4]) is None


def test_the_same_seed_finds_the_same_and_nothing_else_is_touched(capsys):
    network = planted.network("backup")
    first = refute(ALGORITHM, network, ALIGNMENT, seed=3)
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    again = refute(ALGORITHM, network, ALIGNMENT, seed=3)
    assert first == again
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert refute(ALGORITHM, network, ALIGNMENT, seed=4).failing != first.failing
    assert capsys.readouterr() == ("", "")


def test_failing_pairs_are_kept_in_a_database(tmp_path):
    network = planted.network("backup")
    first = refute(ALGORITHM, network, ALIGNMENT, database=tmp_path / "kept")
    again = refute(ALGORITHM, network, ALIGNMENT, database=str(tmp_path / "kept"), seed=1)
    assert (first.remembered, again.remembered) == (False, True)
    assert (again.screened, again.failing) == (1, 1)
    assert again.counterexample == first.counterexample
    assert "kept from an earlier search" in str(again)
    mended = refute(ALGORITHM, planted.network(), ALIGNMENT, database=tmp_path / "kept", pairs=2000)
    assert mended.counterexample is None
    assert not refute(ALGORITHM, network, ALIGNMENT, database=tmp_path / "kept").remembered  # it was dropped


def test_a_database_of_hypothesis_can_be_given():
    database = InMemoryExampleDatabase()
    for remembered in (False, True):
        assert refute(ALGORITHM, planted.network("leak"), ALIGNMENT, database=database).remembered == remembered
    other = cm.library.hierarchical_equality(3)  # the choices mean something else there
    assert not refute(other, planted.network("leak"), ALIGNMENT, database=database).remembered


def test_hypothesis_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = configuration.storage_directory("x", intent_to_write=False).path
    configuration.set_hypothesis_home_dir(tmp_path / "home")
    try:
        seen = []

        def fails(drawn):
            seen.append(configuration.storage_directory("x").path)
            return True

        falsifying.shrunk_by_hypothesis(ALGORITHM, ("left",), (("left",), np.ones((2, 4))), fails)
        falsifying.deal(("left",), lambda *_: bool(seen.append(configuration.storage_directory("x").path)), blocks=3, seed=0)
        assert len(seen) > 4
        assert not any(path.is_relative_to(tmp_path) for path in seen)
        assert configuration.storage_directory("x", intent_to_write=False).path == tmp_path / "home" / "x"
        refute(ALGORITHM, planted.network("leak"), ALIGNMENT)
        assert not list(tmp_path.iterdir())
    finally:
        configuration.set_hypothesis_home_dir(before.parent)


def test_blocks_are_of_all_sets_and_of_different_seeds():
    seen = []
    falsifying.deal(("u", "v", "w"), lambda *block: bool(seen.append(block)), blocks=100, seed=0)
    assert len(seen) == 100
    assert len(set(seen)) > 95  # no bit stands for all variables, as every bit does
    assert {chosen for chosen, _ in seen} == {c for k in (1, 2, 3) for c in combinations("uvw", k)}


def test_inputs_are_those_given():
    found = refute(ALGORITHM, planted.network("true to false"), ALIGNMENT, given=lambda a, d: (a > 1) & (d != 0)).counterexample
    assert (found.base, found.sources) == (
        {"a": 2, "b": 2, "c": 0, "d": 1},
        {"left": {"a": 2, "b": 0, "c": 0, "d": 1}},
    )
    assert refute(ALGORITHM, planted.network("leak"), ALIGNMENT, given=lambda a: a > 0, pairs=4000).counterexample is None


def test_what_cannot_be_searched_is_said():
    with pytest.raises(AlignmentError, match=r"there is no aligned variable 'lft'; did you mean 'left'"):
        refute(ALGORITHM, planted.network(), ALIGNMENT, variables=["lft"])
    with pytest.raises(AlignmentError, match="2 problems"):
        refute(ALGORITHM, planted.network(), ALIGNMENT, variables=["left", "left"], pairs=0)
    with pytest.raises(PairsError, match="no variable 'left'"):
        refute(chain(fault=False)[0], planted.network(), ALIGNMENT)
    with pytest.raises(NetworkError, match="not deterministic"):
        refute(ALGORITHM, planted.network("random"), ALIGNMENT)
    with pytest.raises(NetworkError, match="NaN"):
        refute(ALGORITHM, planted.network("nan"), ALIGNMENT)


class Chain(nn.Module):
    """`first` holds whether a equals b, `second` whether c too is set; with a fault the latter does not listen to the former."""

    def __init__(self, fault):
        super().__init__()
        self.first, self.second, self.fault = nn.Identity(), nn.Identity(), fault

    def forward(self, x):
        equal = (x[:, 0] == x[:, 1]).float()[:, None]
        first = self.first(equal)
        both = (equal if self.fault else first) * (x[:, 2:] > 0)
        return (self.second(both)[:, 0] > 0.5) != (x[:, 2] == 2)


def chain(fault):
    algorithm = cm.CausalModel(
        "chain",
        dict.fromkeys("abc", cm.Finite(range(3))),
        {"first": lambda a, b: a == b, "second": lambda first, c: first and c > 0, "out": lambda second, c: second != (c == 2)},
    )
    network = cm.Network(Chain(fault), encode=lambda x: torch.from_numpy(np.stack([x[v] for v in "abc"], 1)), decode=lambda y: y)
    sites = {v: cm.Feature(cm.Site(v)) for v in ("first", "second")}
    return algorithm, network, cm.Alignment(sites)


def test_replaying_says_what_both_sides_answer():
    network = planted.network("leak")
    drawn = cm.pairs(ALGORITHM, ["left", "right"], 12)
    features = {ALIGNMENT[v]: source for v, source in drawn.sources.items()}
    answered = network.interchange(drawn.base, features)
    for row in range(12):
        base = {v: x[row].item() for v, x in drawn.base.items()}
        sources = {v: {k: x[row].item() for k, x in source.items()} for v, source in drawn.sources.items()}
        found = replay(ALGORITHM, network, ALIGNMENT, base, sources)
        assert (found.slice, found.base, found.sources) == ("replay", base, sources)
        assert found.expected == {"same": drawn.expected["same"][row]}
        assert found.answered == answered[row]
        assert found.differs == (answered[row] != drawn.expected["same"][row])
    assert replay(ALGORITHM, network, ALIGNMENT, base, {}).answered == network.run(base)


@pytest.mark.parametrize("fault", [False, True])
def test_a_variable_is_read_out_after_the_others_are_set(fault):
    """By hand: first is taken from the source, what second then holds in the middle input is set in the base."""
    algorithm, network, alignment = chain(fault)
    differs = 0
    for base, middle, source in product(({"a": 0, "b": 0, "c": 1}, {"a": 1, "b": 0, "c": 2}), repeat=3):
        found = replay(algorithm, network, alignment, base, {"second": middle, "first": source}, read_out="second")
        second = algorithm.interchange(middle, {"first": source})["second"]
        assert found.expected == {"out": algorithm.solve(base, {"second": second})["out"]}
        batch = [{v: [x] for v, x in side.items()} for side in (base, middle, source)]
        held = network.activations(batch[2], [alignment["first"]])
        read = network.activations(batch[1], [alignment["second"]], do=held)
        assert found.answered == network.run(batch[0], do=read)[0]
        assert found.read_out == "second"
        assert found.replayed_by.endswith("read_out='second')")
        differs += found.differs
    assert bool(differs) == fault


def test_what_cannot_be_replayed_is_said():
    network, base = planted.network(), dict.fromkeys("abcd", 0)
    with pytest.raises(ModelError, match="did you mean 'left'"):
        replay(ALGORITHM, network, ALIGNMENT, base, {"lefft": base})
    with pytest.raises(ModelError, match="sources maps each variable to .*; given None"):
        replay(ALGORITHM, network, ALIGNMENT, base, None)
    with pytest.raises(AlignmentError, match="no aligned variable 'same'"):
        replay(ALGORITHM, network, ALIGNMENT, base, {"same": base})
    with pytest.raises(ModelError, match="the input 'd' is missing"):
        replay(ALGORITHM, network, ALIGNMENT, dict.fromkeys("abc", 0), {})
    with pytest.raises(ModelError, match="the source of 'left' has an array for 'a'"):
        replay(ALGORITHM, network, ALIGNMENT, base, {"left": {**base, "a": [0, 1]}})
    with pytest.raises(ModelError, match="maps each input to its label; given 3"):
        replay(ALGORITHM, network, ALIGNMENT, base, {"left": 3})
    with pytest.raises(AlignmentError, match=r"read_out names one of the sources: .*did you mean 'left'"):
        replay(ALGORITHM, network, ALIGNMENT, base, {"left": base}, read_out="lef")
    words = replace_decode(network, lambda logits: ["yes"] * len(logits))
    with pytest.raises(AlignmentError, match="decode returns 'yes'"):
        replay(ALGORITHM, words, ALIGNMENT, base, {})


def replace_decode(network, decode):
    return cm.Network(network.module, encode=network.encode, decode=decode)


def test_shrinking_keeps_what_is_claimed_of_a_pair():
    """Its name, its variables, and whether the interchange changes the answer."""
    asked = trial("leak", "left", "right")
    kinds = set()
    for pair in failing(asked)[:12]:
        before = asked.example(pair, "left + right: changed")
        after = shrunk(ALGORITHM, asked.network, ALIGNMENT, before)
        assert after.differs
        assert (after.slice, list(after.sources), after.read_out) == (before.slice, ["left", "right"], None)
        assert told(after) < told(before)
        changed = [ALGORITHM.solve(e.base)["same"] != e.expected["same"] for e in (before, after)]
        assert changed[0] == changed[1]
        kinds.add((changed[0], tuple(after.base.values())))
        assert after.matters[:2] == ("base.a", "base.b")
    assert {changed for changed, _ in kinds} == {True, False}


def test_shrinking_keeps_a_transition():
    asked = trial("leak", "left")
    seen = set()
    for pair in failing(asked)[:12]:
        before = asked.example(pair, "left: True → False")
        after = shrunk(ALGORITHM, asked.network, ALIGNMENT, before)
        values = [[ALGORITHM.solve(side)["left"] for side in (e.base, e.sources["left"])] for e in (before, after)]
        assert values[0] == values[1]
        seen.add(tuple(values[0]))
    assert len(seen) == 2


def test_shrinking_keeps_one_source_for_all():
    asked = trial("backup", "left", "right", tied=True)
    drawn = cm.pairs(ALGORITHM, ["left", "right"], 2000, one_source=True, design="uniform")
    codes = asked.coded(drawn.base, drawn.sources)
    pair = codes[asked.differ(codes)][0]
    after = shrunk(ALGORITHM, asked.network, ALIGNMENT, asked.example(pair, "left + right: remainder exchanged, unchanged"))
    assert after.sources["left"] == after.sources["right"] == {"a": 0, "b": 1, "c": 0, "d": 1}
    assert after.base == dict.fromkeys("abcd", 0)
    assert after.matters == tuple(f"{side}.{v}" for side in ("base", "source") for v in "abcd")
    assert after.differs


def test_shrinking_keeps_what_is_read_out():
    algorithm, network, alignment = chain(fault=True)
    high = {"a": 2, "b": 2, "c": 2}
    before = replay(algorithm, network, alignment, high, {"second": high, "first": {"a": 2, "b": 1, "c": 2}}, read_out="second")
    assert before.differs
    after = shrunk(algorithm, network, alignment, replace(before, slice="first: second read out, changed"))
    assert after.read_out == "second"
    assert list(after.sources) == ["second", "first"]
    assert replay(algorithm, network, alignment, after.base, after.sources, read_out="second").differs
    assert after.base == {"a": 0, "b": 0, "c": 1}  # where the answer changes
    assert sum(source[v] != after.base[v] for source in after.sources.values() for v in "abc") == 1
    assert after.matters


def test_what_does_not_fail_or_cannot_be_asked_is_left_as_it_is():
    network = planted.network("leak")
    right = replay(ALGORITHM, network, ALIGNMENT, dict.fromkeys("abcd", 1), {})
    assert shrunk(ALGORITHM, network, ALIGNMENT, right) is right
    gone = Counterexample("gone", dict.fromkeys("abcd", 9), {}, {"same": True}, answered=False)
    assert shrunk(ALGORITHM, network, ALIGNMENT, gone) is gone


def test_pairs_that_cannot_be_carried_out_are_passed_over():
    """`encode` knows no input with a of 1 or 2, so that 3 goes to 0 past them; of nothing else is there an error."""
    network = planted.network("true to false")

    def encode(inputs):
        if np.isin(inputs["a"], (1, 2)).any():
            raise ValueError("no such prompt")
        return planted.encode(inputs)

    partial = cm.Network(network.module, encode=encode, decode=network.decode)
    base = dict.fromkeys("abcd", 3)
    before = replay(ALGORITHM, partial, ALIGNMENT, base, {"left": {**base, "b": 1}})
    after = shrunk(ALGORITHM, partial, ALIGNMENT, before)
    assert (after.base, after.sources["left"]) == (dict.fromkeys("abcd", 0), {"a": 0, "b": 1, "c": 0, "d": 0})


@pytest.mark.filterwarnings("ignore::commute.errors.SlowWarning")
def test_large_and_opaque_models_are_shrunk():
    """A million labels, and mechanisms that only Python can evaluate, of no known domain."""
    numbers = cm.Finite(range(10**6))
    algorithm = cm.CausalModel(
        "large", {"n": numbers, "m": numbers}, {"v": lambda n: hash(n) // 10, "out": lambda v, m: (v + m) % 2}
    )
    network = cm.Network(Large(), encode=lambda x: torch.from_numpy(np.stack([x["n"], x["m"]], 1)), decode=lambda out: out.long())
    alignment = cm.Alignment({"v": cm.Feature(cm.Site("hidden"))})
    before = replay(algorithm, network, alignment, {"n": 777_777, "m": 900_009}, {"v": {"n": 123_456, "m": 654_321}})
    assert before.differs
    after = shrunk(algorithm, network, alignment, before)
    assert after.differs
    assert after.base["m"] == 100_000  # the first at which it fails
    assert after.base["n"] == after.sources["v"]["n"] < 20


class Large(nn.Module):
    """Wrong from 100,000 on."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Identity()

    def forward(self, x):
        v = self.hidden((x[:, :1] // 10).double())[:, 0]
        return (v + x[:, 1] + (x[:, 1] >= 100_000)) % 2


@given(st.integers(0, 99), st.integers(1, 100))
def test_earlier_labels_are_smaller(code, labels):
    domain = cm.Finite(range(max(labels, code + 1)))
    values = earlier(code, domain)
    assert set(values) <= set(range(code))
    assert code > 64 or values == list(range(code))


@given(st.floats(-50, 50).map(lambda x: x + 0.0), st.sampled_from([(-50, 50), (-50.5, 50.25), (-1e-3, 50), (0, 50)]))
def test_simpler_numbers_are_smaller(x, ends):
    domain = cm.Interval(*ends)
    if x in domain:
        values = np.array(earlier(x, domain)).reshape(-1, 1, 1)
        size = sizes(np.array([[[x]]]), [domain])[0]
        assert smaller(sizes(values, [domain]), size).all() if len(values) else x in (0, -50)
        assert all(v in domain for v in values.ravel())


def test_numbers_of_an_interval_are_ordered_by_how_round_they_are():
    domain = cm.Interval(-100, 100)
    given_order = [0, -100, 100, -20, 10, 20, -3, 1, 2, -0.5, 0.1, 0.2, 0.15]
    codes = np.array(given_order, dtype=float).reshape(-1, 1, 1)
    assert order(sizes(codes, [domain])).tolist() == list(range(len(given_order)))
