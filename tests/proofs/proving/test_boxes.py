"""Proofs about all numbers near those of some inputs, where the share of them that is wrong is known or counted on a grid."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.causal.batches import as_column
from commute.errors import ClaimError, ModelError
from commute.proofs.programs.evaluate import values
from commute.proofs.proving import writing
from commute.proofs.proving.box_refinement import BoxGrowth, refine_boxes
from commute.proofs.proving.boxes import boxed, posed_boxes
from commute.proofs.proving.budget import Budget
from commute.proofs.proving.certificate import BoxProof, certificate_of
from commute.proofs.proving.hashing import digest
from commute.proofs.proving.tree import OPEN, RIGHT, SPLIT, WRONG
from commute.recheck import Rejected, recheck

BIT = cm.Finite((0, 1))


def conjunction(domain=BIT):
    return cm.CausalModel(
        "conjunction",
        {"a": domain, "b": domain},
        {"left": lambda a: a > 0.5, "right": lambda b: b > 0.5, "out": lambda left, right: left and right},
        domains=dict.fromkeys(("left", "right", "out"), cm.Bool),
    )


class Sums(nn.Module):
    """Whether relu(a) + relu(b) is above a threshold."""

    def __init__(self, threshold):
        super().__init__()
        self.linear, self.relu, self.head = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)
        with torch.no_grad():
            for weights, put in [(self.linear.weight, [[1, 0], [0, 1]]), (self.head.weight, [[0, 0], [1, 1]])]:
                weights.copy_(torch.tensor(put))
            self.linear.bias.zero_()
            self.head.bias.copy_(torch.tensor([0, -threshold]))

    def forward(self, x):
        return self.head(self.relu(self.linear(x)))


class Curved(nn.Module):
    """Random layers, with a product of two numbers among them."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = nn.Linear(2, 6), nn.ReLU()
        self.second, self.tanh = nn.Linear(6, 6), nn.Tanh()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.rest(self.relu(self.first(x)))

    def rest(self, h):
        x = self.tanh(self.second(h))
        return self.head(x[:, :3] * x[:, 3:])


def encode(batch):
    return torch.from_numpy(np.stack([batch[v] for v in "ab"], 1)).float()


def network(module):
    return cm.Network(module.eval(), encode=encode, decode=lambda scores: scores.argmax(-1).bool())


def neurons(net, **dims):
    return cm.Alignment({v: cm.Feature(net.site("relu"), cm.Identity(), d) for v, d in dims.items()})


def sums(threshold=1.5):
    net = network(Sums(threshold))
    return net, neurons(net, left=(0,), right=(1,))


def curved():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = Curved()
        nn.init.normal_(module.head.weight, std=3.0)
    net = network(module)
    return net, neurons(net, left=(0, 1, 2))


def leaves(growth):
    return [e for e in growth.entries.values() if e.kind != SPLIT]


def grown(statement, **budget):
    growth = BoxGrowth.begun(statement)
    refine_boxes(growth, budget=Budget(**budget))
    return growth


def points(statement, part, count, seed):
    """Points of a part of a box, its ends among them."""
    drawn = np.random.default_rng(seed).uniform(-1.3, 1.3, (count, len(part.lower))).clip(-1, 1)
    middle, half = (part.lower + part.upper) / 2, (part.upper - part.lower) / 2
    return statement.center(part.path[0]) + statement.epsilon * (middle + half * torch.from_numpy(drawn))


def chosen(statement, drawn):
    return values(statement.patched.program, drawn.split(statement.patched.program.inputs, 1))[-1].argmax(1)


@pytest.mark.parametrize("variables", [["left"], ["right"], ["left", "right"], ["right", "left"]])
def test_everything_is_proved_where_it_is_true(variables):
    # 1 + 1 is at least 1.52, and 1 + 0 at most 1.48.
    statement, outcome, tree = boxed(conjunction(), *sums(), variables, within=0.24, budget=Budget())
    assert (outcome.right, outcome.wrong, outcome.lower, outcome.upper) == (1, 0, 1, 1)
    assert outcome.undecided == 0
    assert outcome.first is None
    assert OPEN not in tree.cells[:, 0]
    assert (tree.cells[:, 0] == RIGHT).sum() - (tree.cells[:, 0] == SPLIT).sum() == 4 ** (1 + len(variables))
    assert outcome.classes == statement.shape


@pytest.mark.parametrize("variables", [["left"], ["left", "right"]])
def test_the_share_that_is_wrong_is_closed_in_on(variables):
    # Of each box with 1 and 1, 1 and 0, or 0 and 1, a triangle with legs of 0.1 is wrong, of a square of 0.6: 1/72.
    _, outcome, _ = boxed(conjunction(), *sums(), variables, within=0.3, budget=Budget(bounds=3000))
    wrong = Fraction(3, 4) / 72
    assert isinstance(outcome.lower, Fraction)
    assert outcome.lower <= 1 - wrong <= outcome.upper
    assert 0 < outcome.undecided < Fraction(1, 100)
    assert outcome.wrong > wrong / 2


def test_all_of_a_box_is_wrong_where_the_network_is():
    _, outcome, tree = boxed(conjunction(), *sums(2.5), ["left"], within=0.2, budget=Budget())
    assert (outcome.right, outcome.wrong) == (Fraction(3, 4), Fraction(1, 4))
    assert outcome.first == (1, 2)  # b of the base (0, 1), a of the source (1, 0)
    assert (tree.cells[:, 0] == WRONG).any()


@pytest.mark.parametrize("within", [0.26, 0.3, 0.5])
def test_a_box_with_a_violation_is_never_proved(within):
    statement = posed_boxes(conjunction(), *sums(), ["left"], within=within)
    growth = grown(statement, bounds=3000)
    right = {e.part.path for e in leaves(growth) if e.kind == RIGHT}
    for root in range(16):
        base, source = statement.places(root)
        a, b = source >> 1, base & 1
        low, high = (max(0, a - within) + max(0, b - within)), a + b + 2 * within
        true = low > 1.5 if a and b else high < 1.5
        whole = sum(Fraction(1, 2 ** (len(path) - 1)) for path in right if path[0] == root)
        assert (whole == 1) == true


def test_points_of_proved_parts_are_as_proved_in_both_arithmetics():
    net, alignment = curved()
    statement = posed_boxes(conjunction(), net, alignment, ["left"], within=0.4)
    growth = grown(statement, bounds=2500)
    assert {RIGHT, WRONG, OPEN} <= {e.kind for e in leaves(growth)}
    for i, entry in enumerate(leaves(growth)):
        if entry.kind == OPEN:
            continue
        drawn = points(statement, entry.part, 16, i)
        expected = statement.choice(entry.part.path[0])
        assert ((chosen(statement, drawn) == expected) == (entry.kind == RIGHT)).all()
        base, source = drawn.float().split(2, 1)
        with torch.no_grad():
            held, put = (net.module.relu(net.module.first(x)) for x in (base, source))
            scores = net.module.rest(torch.cat([put[:, :3], held[:, 3:]], 1))
        near = statement.interval([entry.part])
        inside = ((drawn.float() >= near.lower) & (drawn.float() <= near.upper)).all(1)  # rounding may take a point out
        assert ((scores.argmax(1) == expected) == (entry.kind == RIGHT))[inside].all()


def test_shares_are_those_of_a_dense_grid():
    statement = posed_boxes(conjunction(), *curved(), ["left"], within=0.4)
    outcome = grown(statement, bounds=4000).outcome()
    steps = (np.arange(12) + 0.5) / 6 - 1
    grid = torch.from_numpy(np.stack(np.meshgrid(*[steps] * 4), -1).reshape(-1, 4)) * statement.epsilon
    right = [(chosen(statement, statement.center(r) + grid) == statement.choice(r)).double().mean() for r in range(16)]
    share = float(torch.stack(right).mean())
    assert 0.05 < share < 0.95
    assert float(outcome.lower) - 0.01 <= share <= float(outcome.upper) + 0.01
    assert float(outcome.undecided) < 0.3


def test_parts_hold_their_halves_and_those_fill_them():
    statement = posed_boxes(conjunction(), *curved(), ["left"], within=0.1)
    growth = grown(statement, bounds=1000)
    for path, entry in growth.entries.items():
        if entry.kind == SPLIT:
            whole, (one, other) = entry.part, (growth.entries[(*path, i)].part for i in (0, 1))
            assert torch.equal(one.lower, whole.lower)
            assert torch.equal(other.upper, whole.upper)
            apart = (one.upper != whole.upper).nonzero().flatten().tolist()
            assert apart == [entry.along] == (other.lower != whole.lower).nonzero().flatten().tolist()
            assert one.upper[entry.along] == other.lower[entry.along]


def test_bounds_of_parts_are_rounded_outward():
    epsilon = 0.1
    statement = posed_boxes(conjunction(), *sums(), ["left"], within=epsilon)
    part = next(iter(statement.roots()))
    for turn in range(20):
        part = part.halves(turn % 4)[turn // 4 % 2]
        found = statement.interval([part])
        middle = statement.center(0)
        for ends, given, sign in ((part.lower, found.lower, 1), (part.upper, found.upper, -1)):
            exact = [Fraction(c) + Fraction(t) * Fraction(epsilon) for c, t in zip(middle.tolist(), ends.tolist(), strict=True)]
            apart = [sign * (e - Fraction(g)) for e, g in zip(exact, given[0].tolist(), strict=True)]
            assert all(0 < d < Fraction(1, 2**50) for d in apart)


def test_a_budget_stops_and_what_goes_on_ends_alike():
    statement = posed_boxes(conjunction(), *sums(), ["left"], within=0.3)
    whole, seen = BoxGrowth.begun(statement), []
    refine_boxes(whole, budget=Budget(bounds=1500), on_round=lambda growth: seen.append(growth.outcome()))
    assert [o.lower for o in seen] == sorted(o.lower for o in seen)
    assert [o.upper for o in seen] == sorted((o.upper for o in seen), reverse=True)
    short = grown(statement, bounds=100)
    assert short.outcome().bounds < whole.outcome().bounds
    kept = BoxGrowth(statement, dict(reversed(short.entries.items())), list(short.work))
    refine_boxes(kept, budget=Budget(bounds=1500))
    assert (kept.tree().cells == whole.tree().cells).all()
    assert kept.outcome() == whole.outcome()
    assert grown(statement, seconds=1e-9).outcome().undecided == 1


def test_points_are_decided_or_stay_open_without_a_budget():
    _, outcome, _ = boxed(conjunction(), *sums(), ["left"], within=0, budget=Budget())
    assert (outcome.right, outcome.bounds) == (1, 16)
    _, outcome, tree = boxed(conjunction(), *sums(2.0), ["left"], within=0, budget=Budget())
    assert outcome.undecided == Fraction(1, 4)  # a tie
    assert (tree.cells[:, 0] == OPEN).sum() == 4


def test_continuous_inputs_need_settings():
    interval = cm.Interval(-1.0, 2.0)
    with pytest.raises(ClaimError, match="give near=, a batch of inputs"):
        posed_boxes(conjunction(interval), *sums(), ["left"], within=0.1)
    rows = [{"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}]
    given = boxed(conjunction(interval), *sums(), ["left"], within=0.2, budget=Budget(), near=rows)
    assert given[0].shape == (2, 2)
    assert given[1].lower == 1
    columns = {"a": np.array([0.0, 1.0]), "b": np.array([1.0, 1.0])}
    again = boxed(conjunction(interval), *sums(), ["left"], within=0.2, budget=Budget(), near=columns)
    assert (given[2].cells == again[2].cells).all()
    wrong = boxed(conjunction(interval), *sums(2.5), ["left"], within=0.2, budget=Budget(), near=rows)
    assert (wrong[1].wrong, wrong[1].first) == (Fraction(1, 2), (0, 1))


def test_finite_inputs_may_be_some_of_the_domain():
    statement = posed_boxes(conjunction(), *sums(), ["left"], within=0.1, near={"a": [1], "b": [1]})
    assert statement.entries.tolist() == [[1.0, 1.0]]
    assert grown(statement).outcome().lower == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"within": -0.1}, "within must be a finite number of at least 0; given -0.1"),
        ({"within": float("nan")}, "within must be a finite number"),
        ({"variables": []}, "at least one variable"),
        ({"variables": ["lift"]}, "did you mean 'left'"),
        ({"near": {"a": [1, 0]}}, "the input 'b' is missing"),
        ({"near": [{"a": 1}]}, "near= must have settings of a, b"),
        ({"near": [{"a": 1, "c": 1, "b": 1}]}, "there is no input 'c'"),
        ({"near": [{"a": 1, "b": 1}, {"a": 1}]}, "one length"),
        ({"near": {"a": 1, "b": 1}}, "near= must have settings of a, b"),
        ({"near": [1]}, r"near= must have settings of a, b.*given \[1\]"),
        ({"near": 0}, "near= must have settings of a, b.*given 0"),
        ({"near": {"a": [2], "b": [0]}}, "not in its domain"),
        ({"near": {"a": [], "b": []}}, "there are 0 inputs"),
        ({"near": {"a": [0, 1] * 600, "b": [1] * 1200}}, "1,440,000 boxes"),
    ],
)
def test_what_does_not_fit_is_said(changed, told):
    given = {"variables": ["left"], "within": 0.1, **changed}
    with pytest.raises(ClaimError, match=told):
        posed_boxes(conjunction(), *sums(), given.pop("variables"), **given)


@pytest.mark.parametrize("variables", [["left"], ["left", "right"]])
def test_a_tree_is_shown_again_by_itself(variables, tmp_path):
    pytest.importorskip("flint")
    algorithm, (net, alignment) = conjunction(), sums()
    statement, outcome, tree = boxed(algorithm, net, alignment, variables, within=0.3, budget=Budget(bounds=200))
    assert {RIGHT, OPEN, SPLIT} <= set(tree.cells[:, 0].tolist())
    proof = BoxProof(statement.patched, statement.entries, statement.epsilon, outcome, tree)
    certificate_of(algorithm, net, alignment, [proof]).save(tmp_path)
    report = recheck(tmp_path)
    assert (report.lower, report.upper) == (outcome.lower, outcome.upper)


# ---- certificates about given settings --------------------------------------------------------------------------------------

GIVEN = [{"a": 1.0, "b": 0.75}, {"a": 0.0, "b": 1.0}, {"a": 0.25, "b": 0.0}, {"a": 1.0, "b": 0.75}]
BOTH = [["left"], ["right", "left"]]


def columns(rows):
    return {v: np.array([x[v] for x in rows]) for v in "ab"}


def about_given(near=GIVEN, variables=BOTH, threshold=2.5, **given):
    return cm.prove(conjunction(cm.Interval(-1.0, 2.0)), *sums(threshold), variables=variables, within=0.1, near=near, **given)


def by_hand(rows, variables):
    """What the conjunction answers for every base with every source."""
    answers = np.empty((len(rows),) * (1 + len(variables)), dtype=np.int64)
    for places in np.ndindex(answers.shape):
        base, *sources = (rows[i] for i in places)
        from_row = {"left": base, "right": base} | dict(zip(variables, sources, strict=True))
        answers[places] = from_row["left"]["a"] > 0.5 and from_row["right"]["b"] > 0.5
    return answers


@pytest.mark.parametrize("near", [GIVEN, tuple(GIVEN), columns(GIVEN)])
def test_a_certificate_holds_given_settings_and_the_answers_for_them(near, tmp_path):
    made = about_given(near)
    assert made.record["algorithm"] is None
    assert made.record["settings"] == {"a": [1.0, 0.0, 0.25, 1.0], "b": [0.75, 1.0, 0.0, 0.75]}
    assert made.record["digests"]["domain"] == digest(made.record["settings"])
    for statement, variables in zip(made.record["statements"], BOTH, strict=True):
        answers = made.tensors[statement["answers"]]
        assert (answers.dtype, statement["labels"]) == (torch.int32, [False, True])
        assert (answers.numpy() == by_hand(GIVEN, variables)).all()
        assert made.tensors[statement["entries"]].tolist() == [[x["a"], x["b"]] for x in GIVEN]
    made.save(tmp_path)
    read = cm.Certificate.load(tmp_path)
    assert (read.record, read.outcomes, str(read)) == (made.record, made.outcomes, str(made))
    assert all(torch.equal(x, made.tensors[k]) for k, x in read.tensors.items())


@pytest.mark.parametrize("threshold", [0.5, 1.5, 2.5])
def test_what_is_proved_near_settings_is_what_holds_at_them(threshold):
    """Around these settings nothing changes within 0.1, so that the share is that of the network's own interchanges."""
    made = about_given(threshold=threshold)
    net, alignment = sums(threshold)
    for statement, outcome, variables in zip(made.record["statements"], made.outcomes, BOTH, strict=True):
        answers = made.tensors[statement["answers"]].numpy()
        base, *sources = ({v: x[i.ravel()] for v, x in columns(GIVEN).items()} for i in np.indices(answers.shape))
        put = {alignment[v]: source for v, source in zip(variables, sources, strict=True)}
        right = net.interchange(base, put) == answers.ravel()
        assert outcome.undecided == 0
        assert outcome.right == Fraction(int(right.sum()), right.size)
        wrong = np.argwhere(~right.reshape(answers.shape)).tolist()
        assert outcome.first == (tuple(wrong[0]) if wrong else None)


@pytest.mark.parametrize("threshold", [1.2, 2.5])
def test_a_certificate_about_given_settings_is_shown_again_by_itself(threshold, tmp_path):
    pytest.importorskip("flint")
    made = about_given(variables=["left"], threshold=threshold, budget="60 bounds")
    assert (made.undecided > 0) == (threshold == 1.2)
    made.save(tmp_path)
    report = recheck(tmp_path)
    assert (report.lower, report.upper) == (made.lower, made.upper)
    statement = made.record["statements"][0]
    made.tensors[statement["answers"]][0, 1] ^= 1
    made.save(tmp_path)
    with pytest.raises(Rejected):
        recheck(tmp_path)
    for none in (-1, len(statement["labels"])):
        made.tensors[statement["answers"]][:] = none
        made.save(tmp_path)
        with pytest.raises(Rejected, match="none of the choices"):
            recheck(tmp_path)


def test_the_first_wrong_pair_is_told_by_its_settings():
    told = str(about_given(variables=["left"], near=GIVEN[1:]))
    assert "all numbers within 0.1 of those of 3 given inputs" in told
    assert told.endswith("wrong first for the base (a=0.0, b=1.0) with left from (a=1.0, b=0.75)")


def test_settings_of_a_finite_domain_are_told_as_they_are():
    named = cm.Finite(("none", (0, 1)))
    algorithm = cm.CausalModel(
        "named",
        {"a": named, "b": BIT},
        {"left": lambda a: a == (0, 1), "right": lambda b: b == 1, "out": lambda left, right: left and right},
    )
    net = cm.Network(
        Sums(2.5).eval(),
        encode=lambda batch: torch.tensor([[float(a != "none"), float(b)] for a, b in zip(batch["a"], batch["b"], strict=True)]),
        decode=lambda scores: scores.argmax(-1).bool(),
    )
    near = [{"a": (0, 1), "b": 1}, {"a": "none", "b": 1}]
    made = cm.prove(algorithm, net, neurons(net, left=(0,), right=(1,)), variables=["left"], within=0.1, near=near)
    assert made.record["settings"] == {"a": ["(0, 1)", "none"], "b": [1, 1]}
    assert (made.lower, made.upper, made.outcomes[0].first) == (Fraction(1, 2), Fraction(1, 2), (0, 0))
    whole = cm.prove(algorithm, net, neurons(net, left=(0,), right=(1,)), variables=["left"], within=0.1)
    assert (whole.lower, whole.record["settings"]) == (Fraction(3, 4), None)
    assert [s["answers"] for s in whole.record["statements"]] == [None]
    assert whole.record["algorithm"]["inputs"] == ["a", "b"]


def test_settings_that_become_one_text_are_refused():
    with pytest.raises(ModelError, match=r"labels of 'a' have one text: \['\(0, 1\)', '\(0, 1\)'\]"):
        writing.settings({"a": as_column([(0, 1), "(0, 1)"]), "b": np.array([1, 1])})
    assert writing.settings({"a": as_column([(0, 1), (0, 1)])}) == {"a": ["(0, 1)"] * 2}


def test_settings_and_the_answers_for_them_are_kept_together():
    algorithm, (net, alignment) = conjunction(cm.Interval(0.0, 1.0)), sums()
    statement, outcome, tree = boxed(algorithm, net, alignment, ["left"], within=0.1, budget=Budget(), near=columns(GIVEN))
    without = BoxProof(statement.patched, statement.entries, statement.epsilon, outcome, tree)
    for proof, near in ((without, columns(GIVEN)), (replace(without, choices=statement.choices), None)):
        with pytest.raises(ClaimError, match="proofs about given settings"):
            certificate_of(algorithm, net, alignment, [proof], near)
