"""Compiled organisms against their algorithms on every input and every pair, and each disguise against what it is said to do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import commute as cm
from commute.alignments.accuracy import agreement
from commute.causal.inputs import Inputs
from commute.models.decoding import Readout
from commute.models.organisms.cases import COMBINATIONS, UNITS
from commute.models.reinitialised import reinitialised
from commute.testing import strategies as sts

EQUALITY = cm.library.hierarchical_equality(4)
BOTH = ["left", "right"]
SITE = cm.Site("blocks.0")


def every(model):
    """All inputs."""
    return model.labels(Inputs(model).listed)


def by_output(model, labels):
    return labels if isinstance(labels, dict) else {model.outputs[0]: labels}


def right_answers(organism):
    """The share of all inputs that the network answers as its algorithm does."""
    inputs = every(organism.algorithm)
    expected = organism.algorithm.solve(inputs, only=organism.algorithm.outputs)
    answered = by_output(organism.algorithm, organism.network.run(inputs))
    agreed = [[a == e for a, e in zip(answered[v].tolist(), expected[v].tolist(), strict=True)] for v in expected]
    return np.all(agreed, axis=0).mean()


def all_pairs(model, variables, most=2**14):
    """Every base with every source, or so many drawn where there are more."""
    if len(Inputs(model).listed[model.inputs[0]]) ** (1 + len(variables)) <= most:
        return cm.pairs(model, variables, design="exhaustive")
    return cm.pairs(model, variables, 2000, design="uniform")


def accuracy(organism, variables, alignment=None):
    """On all pairs, and on those that change the output."""
    pairs = cm.pairs(organism.algorithm, variables, design="exhaustive")
    right = agreement(organism.network, alignment or organism.alignment, pairs)
    return right.mean(), right[pairs.changed].mean()


def joint_pairs():
    return cm.pairs(EQUALITY, BOTH, 4000, design="uniform")


models = sts.models(inputs=2, mechanisms=4, parents=2).filter(lambda m: m.internal)
options = st.fixed_dictionaries(
    {
        "rotate": st.booleans(),
        "distractors": st.sampled_from([0, 3]),
        "scale": st.sampled_from([1.0, 4.0]),
        "seed": st.integers(0, 100),
    }
)


# What is compiled


@settings(max_examples=60)
@given(models, options)
def test_answers_every_input_and_every_interchange_as_the_algorithm_does(model, options):
    organism = cm.organisms.compile(model, **options)
    assert right_answers(organism) == 1
    assert set(organism.alignment) == set(model.internal)
    for variables in [*([v] for v in model.internal), list(model.internal)]:
        pairs = all_pairs(model, variables)
        assert agreement(organism.network, organism.alignment, pairs).all(), variables


@settings(max_examples=40)
@given(models, options, st.data())
def test_disguises_keep_the_answers_and_the_truth_once_copies_are_joined(model, options, data):
    read = [v for v in model.internal if model.graph.out_degree(v)]
    some = st.lists(st.sampled_from(read), unique=True)
    redundant, dead, leaky = data.draw(some), data.draw(some), data.draw(some)
    backup = data.draw(st.permutations(read))[:2] if len(read) > 1 and data.draw(st.booleans()) else ()
    disguise = {"redundant": redundant, "dead": dead, "leak": dict.fromkeys(leaky, 0.3), "backup": backup}
    organism = cm.organisms.compile(model, **options, **disguise)
    assert right_answers(organism) == 1
    whole = dict(organism.subspaces)
    for name, copy in organism.others.items():
        kind, variable = name.split(" of ")
        if kind in ("leaked copy", "backup copy"):
            whole[variable] = whole[variable].joined(copy)
    for variables in [*([v] for v in model.internal), list(model.internal)]:
        pairs = all_pairs(model, variables)
        assert agreement(organism.network, cm.Alignment.along(whole), pairs).all(), variables


def test_several_outputs_and_variables_far_from_what_reads_them():
    model = cm.CausalModel(
        "far",
        {"x": cm.Finite("abc"), "y": cm.Bool},
        {
            "early": lambda x, y: (x, y),
            "middle": lambda early: early[0],
            "late": lambda middle, y: middle + str(y),
            "constant": lambda: 7,
            "first": lambda late, early, constant: (late, early[1], constant),
            "second": lambda x, late: x in late,
        },
    )
    organism = cm.organisms.compile(model)
    assert right_answers(organism) == 1
    places = {v: str(s.site) for v, s in organism.subspaces.items()}
    assert places == {"early": "blocks.0", "middle": "blocks.1", "late": "blocks.2", "constant": "blocks.0"}
    assert agreement(organism.network, organism.alignment, cm.pairs(model, ["early", "late"], design="exhaustive")).all()
    assert organism.subspaces["early"].dims == 5
    assert set(organism.network.run({"x": "b", "y": True})) == {"first", "second"}


def test_a_variable_may_be_an_input_and_an_output_and_all_may_be_constant():
    model = cm.CausalModel("kept", {"x": cm.Finite("abc")}, {"v": lambda x: x == "a", "w": lambda v: not v}, ["x", "w"])
    assert right_answers(cm.organisms.compile(model)) == 1
    constant = cm.CausalModel("constant", {"x": cm.Bool}, {"v": lambda x: 1, "w": lambda v: 2})
    organism = cm.organisms.compile(constant, distractors=0)
    assert right_answers(organism) == 1
    assert agreement(organism.network, organism.alignment, cm.pairs(constant, ["v"], design="exhaustive")).all()


@pytest.mark.parametrize(("size", "blocks"), [(23, 8), (5, 30)])
def test_rounding_does_not_add_up_over_units_and_blocks(size, blocks):
    numbers = cm.Finite(range(size))
    table = {(a, b): (a + b) % size for a in numbers for b in numbers}
    steps = {f"s{i}": cm.Table([f"s{i - 1}" if i else "x", "y"], table) for i in range(blocks)}
    model = cm.CausalModel("steps", {"x": numbers, "y": numbers}, steps)
    organism = cm.organisms.compile(model, scale=3.0)
    assert right_answers(organism) == 1
    assert len(organism.network.module.blocks) == blocks
    with torch.no_grad():
        scores = organism.network.module(organism.network.encode(every(model)))
    assert torch.allclose(scores.abs(), torch.ones(()), rtol=0, atol=2e-4 if size > 20 else 0.01)


def test_the_seed_decides_the_weights_and_torch_draws_nothing():
    def weights(seed):
        made = cm.organisms.compile(EQUALITY, seed=seed, leak={"left": 0.2}, noise=0.1, scale=2.0)
        return {k: x.clone() for k, x in made.network.module.state_dict().items()}

    state = torch.random.get_rng_state()
    one, same, other = weights(0), weights(0), weights(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not any(torch.equal(one[k], other[k]) for k in one if k.startswith("blocks"))


def test_what_was_compiled_is_in_the_weights():
    network = cm.organisms.compile(EQUALITY).network
    expected = EQUALITY.solve(every(EQUALITY))["same"]
    shuffled = [reinitialised(network, np.random.default_rng(i)).run(every(EQUALITY)) == expected for i in range(5)]
    assert np.mean(shuffled) < 0.8


def test_the_labels_can_be_read_off_the_scores_as_training_needs():
    model = cm.CausalModel("labels", {"x": cm.Finite(range(3))}, {"v": lambda x: "abc"[x], "w": lambda v: (v, "z")})
    network = cm.organisms.compile(model).network
    readout = Readout.of(network.decode, network.module(network.encode({"x": np.arange(3)})), 3)
    assert readout.labels == tuple(model.domain("w"))


# Where it lies


def test_directions_are_orthonormal_and_along_neurons_only_without_rotation():
    turned = cm.organisms.compile(EQUALITY, dead=BOTH)
    plain = cm.organisms.compile(EQUALITY, dead=BOTH, rotate=False)
    for organism, neurons in ((turned, False), (plain, True)):
        columns = torch.cat([s.directions for s in [*organism.subspaces.values(), *organism.others.values()]], 1)
        assert torch.allclose(columns.T @ columns, torch.eye(4), atol=1e-5)
        assert bool((columns.abs() > 0.999).any(0).all()) == neurons


def test_scale_stretches_coordinates_within_its_bounds():
    sizes = []
    for scale in (1.0, 4.0):
        organism = cm.organisms.compile(EQUALITY, scale=scale, rotate=False, distractors=30)
        vectors = organism.network.activations(every(EQUALITY), [SITE])[SITE].numpy()
        sizes.append(vectors.std(0))
    factors = sizes[1] / sizes[0]
    assert factors.min() >= 0.25 - 1e-4
    assert factors.max() <= 4 + 1e-4
    assert factors.max() / factors.min() > 4


def test_distractors_carry_inputs_in_directions_that_nothing_reads():
    organism = cm.organisms.compile(EQUALITY, distractors=6)
    columns = torch.cat([organism.subspaces[v].directions for v in BOTH], 1)
    rest = torch.linalg.qr(torch.cat([columns, torch.eye(8)], 1)).Q[:, 2:8]
    feature = cm.Feature(SITE, cm.Orthogonal(rest))
    inputs = every(EQUALITY)
    carried = organism.network.activations(inputs, [feature])[feature]
    assert torch.linalg.matrix_rank(carried - carried.mean(0), rtol=1e-3) == 6
    source = {v: np.roll(x, 97) for v, x in inputs.items()}
    assert (organism.network.interchange(inputs, {feature: source}) == organism.network.run(inputs)).all()
    assert cm.organisms.compile(EQUALITY, distractors=0).subspaces["left"].directions.shape == (2, 1)


def test_noise_has_its_size_in_every_neuron_and_reaches_every_direction():
    quiet, noisy = (cm.organisms.compile(EQUALITY, noise=x, seed=3) for x in (0.0, 0.4))
    inputs = every(EQUALITY)
    added = (noisy.network.activations(inputs, [SITE])[SITE] - quiet.network.activations(inputs, [SITE])[SITE]).numpy()
    assert np.allclose(added.std(0), 0.4, rtol=1e-3)
    assert np.allclose(added.mean(0), 0, atol=1e-4)
    assert np.linalg.svd(added - added.mean(0), compute_uv=False).min() / np.sqrt(len(added)) > 0.02
    assert torch.equal(quiet.subspaces["left"].directions, noisy.subspaces["left"].directions)
    assert 0.8 < accuracy(noisy, ["left"])[0] < 1
    assert accuracy(quiet, ["left"])[0] == 1


# Disguises


def test_a_dead_copy_knows_the_variable_and_changes_nothing():
    organism = cm.organisms.compile(EQUALITY, dead=["left"])
    copy = cm.Alignment.along({"left": organism.others["dead copy of left"]})["left"]
    inputs = every(EQUALITY)
    source = {v: np.roll(x, 97) for v, x in inputs.items()}
    assert (organism.network.interchange(inputs, {copy: source}) == organism.network.run(inputs)).all()
    read, said = organism.network.activations(inputs, [copy])[copy][:, 0].numpy(), EQUALITY.solve(inputs)["left"]
    assert np.allclose(np.abs(read), 1, atol=1e-5)
    assert len(np.unique(np.sign(read) * np.where(said, 1, -1))) == 1
    assert accuracy(organism, ["left"])[0] == 1


def test_a_redundant_variable_is_both_of_its_copies():
    organism = cm.organisms.compile(EQUALITY, redundant=["left"])
    assert organism.subspaces["left"].dims == 2
    assert accuracy(organism, ["left"])[0] == 1
    whole, one = organism.subspaces["left"], organism.others["one copy of left"]
    other = cm.organisms.Subspace(SITE, whole.directions[:, 1:])
    assert torch.equal(whole.directions[:, :1], one.directions)
    for half in (one, other):
        assert accuracy(organism, ["left"], cm.Alignment.along({"left": half}))[1] < 0.9


@pytest.mark.parametrize("share", [0.04, 0.152, 0.5])
def test_a_leak_shows_for_its_share_of_bases_whatever_the_variable_is(share):
    organism = cm.organisms.compile(EQUALITY, leak={"left": share})
    assert right_answers(organism) == 1
    pairs = cm.pairs(EQUALITY, ["left"], design="exhaustive")
    right = agreement(organism.network, organism.alignment, pairs)
    n = len(every(EQUALITY)["a"])
    leaks = ~right.reshape(n, n).all(1)
    assert leaks.sum() == round(share * n)
    assert abs(right[pairs.changed].mean() - (1 - share)) < 0.02
    solved = EQUALITY.solve(every(EQUALITY))
    for v, x in [("left", True), ("left", False), ("same", True), ("same", False)]:
        assert abs(leaks[solved[v] == x].mean() - share) < 0.03, (v, x)
    assert len(np.unique(np.diff(np.flatnonzero(leaks[~solved["left"]])))) > 2  # drawn, not every so many
    assert accuracy(organism, ["right"])[0] == 1
    joined = organism.subspaces["left"].joined(organism.others["leaked copy of left"])
    assert accuracy(organism, ["left"], cm.Alignment.along({"left": joined}))[0] == 1


def test_a_leak_is_spread_over_many_inputs_too():
    model = cm.library.hierarchical_equality(10)  # more inputs than a gate tells apart
    organism = cm.organisms.compile(model, leak={"left": 0.2})
    pairs = cm.pairs(model, ["left"], 4000, design="uniform")
    right = agreement(organism.network, organism.alignment, pairs)
    assert abs(right[pairs.changed].mean() - 0.8) < 0.06


def test_a_backup_shows_only_when_both_are_interchanged():
    organism = cm.organisms.compile(EQUALITY, backup=BOTH)
    assert right_answers(organism) == 1
    assert accuracy(organism, ["left"])[0] == accuracy(organism, ["right"])[0] == 1
    pairs = joint_pairs()
    right = agreement(organism.network, organism.alignment, pairs)
    values = {v: EQUALITY.solve(x)[v] for v, x in pairs.sources.items()}
    base = EQUALITY.solve(pairs.base)
    differ = (values["left"] != base["left"]) & (values["right"] != base["right"])
    assert (right == ~differ).all()
    assert 0 < differ.sum() < len(pairs)
    joined = {v: organism.subspaces[v].joined(organism.others[f"backup copy of {v}"]) for v in BOTH}
    assert agreement(organism.network, cm.Alignment.along(joined), pairs).all()


def test_a_backup_of_a_variable_and_of_what_is_computed_from_it():
    three = cm.Finite(range(3))
    chain = cm.CausalModel(
        "chain", {"x": three, "y": three}, {"u": lambda x, y: (x + y) % 3, "v": lambda u, x: (u * x) % 3, "out": lambda v: v}
    )
    organism = cm.organisms.compile(chain, backup=["u", "v"])
    assert accuracy(organism, ["u"])[0] == accuracy(organism, ["v"])[0] == 1
    assert accuracy(organism, ["u", "v"])[0] < 1


def test_a_backup_leaves_out_what_its_second_variable_is_computed_from():
    model = cm.CausalModel(
        "detour",
        {"x": cm.Finite(range(3)), "y": cm.Bool},
        {"u": lambda x: x, "way": lambda u: u > 0, "v": lambda way, y: way != y, "out": lambda u, v: (u, v)},
    )
    organism = cm.organisms.compile(model, backup=["u", "v"])
    assert right_answers(organism) == accuracy(organism, ["u"])[0] == accuracy(organism, ["v"])[0] == 1
    assert accuracy(organism, ["u", "v"])[0] < 1


# Rivals


def differs(model, rival):
    """Whether any interchange of one variable, of all pairs of inputs, gives other outputs."""
    inputs = every(model)
    n = len(next(iter(inputs.values())))
    base, source = ({v: x[i] for v, x in inputs.items()} for i in np.indices((n, n)).reshape(2, -1))
    for variable in model.internal:
        one, other = (m.interchange(base, {variable: source}, only=model.outputs) for m in (model, rival))
        if any(one[v].tolist() != other[v].tolist() for v in one):
            return True
    return False


@settings(max_examples=60)
@given(models)
def test_rivals_answer_alike_and_are_other_algorithms(model):
    found = cm.organisms.rivals(model)
    assert len({r.name for r in found}) == len(found)
    for rival in found:
        assert (rival.inputs, rival.internal, rival.outputs) == (model.inputs, model.internal, model.outputs)
        assert all(rival.domain(v) == model.domain(v) for v in model.graph)
        one, other = (m.solve(every(model), only=model.outputs) for m in (model, rival))
        assert all(one[v].tolist() == other[v].tolist() for v in model.outputs)
        assert differs(model, rival)


@pytest.mark.parametrize("model", [EQUALITY, cm.library.two_digit_addition(3), cm.library.modular_addition(5)])
def test_an_organism_of_a_rival_is_refuted(model):
    found = cm.organisms.rivals(model)
    assert len(found) == 2 * len(model.internal)
    for rival in found:
        organism = cm.organisms.compile(rival)
        assert right_answers(organism) == 1
        rates = []
        for v in model.internal:
            pairs = cm.pairs(model, [v], 2000, seed=1)
            rates.append(cm.interchange_accuracy(model, organism.network, organism.alignment, pairs).rate)
        assert min(rates) < 0.9, rival


def test_rivals_that_no_interchange_shows_are_left_out():
    constant = cm.CausalModel("constant", {"x": cm.Bool}, {"v": lambda x: 1, "w": lambda v, x: x})
    assert cm.organisms.rivals(constant) == []


@pytest.mark.parametrize("base", [7, 20, 50, 90, 130])
def test_a_rival_may_differ_on_a_single_pair(base):
    numbers = cm.Finite(range(256))
    model = cm.CausalModel(
        "single", {"x": numbers}, {"v": lambda x: x == 3, "w": lambda v, x: v and x == base}, domains={"w": cm.Bool}
    )
    assert any(r.name == "single, v unread" for r in cm.organisms.rivals(model))


def test_rivals_of_many_inputs_are_told_apart_by_drawn_pairs():
    model = cm.library.hierarchical_equality(8)
    assert len(cm.organisms.rivals(model)) == 4


# What is refused


def test_domains_must_be_finite_and_tables_small():
    def u(x):
        return x > 0

    model = cm.CausalModel("real", {"x": cm.Interval(0, 1)}, {"u": u, "v": lambda u: u}, domains={"u": cm.Bool})
    with pytest.raises(cm.CommuteError, match="'x' has the domain .*must be a Finite"):
        cm.organisms.compile(model)
    with pytest.raises(cm.CommuteError, match="'x' has the domain"):
        cm.organisms.rivals(model)
    numbers = cm.Finite(range(160))
    product = cm.CausalModel("product", {"a": numbers, "b": numbers}, {"u": lambda a, b: a * b % 7, "v": lambda u: u})
    with pytest.raises(cm.CommuteError, match=rf"'u' takes [\d,]+ units; at most {UNITS:,}"):
        cm.organisms.compile(product)
    hundred = cm.Finite(range(100))
    pair = cm.CausalModel("pair", {"a": hundred, "b": hundred}, {"u": lambda a: a, "v": lambda u, b: (u + b) % 100})
    with pytest.raises(cm.CommuteError, match="'v' takes 19,800 units"):
        cm.organisms.compile(pair, leak={"u": 0.1})
    many = {f"x{i}": cm.Finite(range(8)) for i in range(7)}
    wide = cm.CausalModel("wide", many, {"u": cm.Table(list(many), {}), "v": lambda u: u}, domains={"u": cm.Bool})
    with pytest.raises(cm.CommuteError, match=rf"'u' have 2,097,152 combinations of values; at most {COMBINATIONS:,}"):
        cm.organisms.compile(wide)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scale": 0.5}, "scale must be a finite number of at least 1; given 0.5"),
        ({"scale": float("nan")}, "scale must be a finite number"),
        ({"noise": -1}, "noise must be a finite number of at least 0; given -1"),
        ({"distractors": -1}, "distractors must be a whole number from 0 to 4,096; given -1"),
        ({"distractors": 100_000}, "distractors must be .* to 4,096; given 100000"),
        ({"rotate": "yes"}, "rotate must be True or False; given 'yes'"),
        ({"redundant": "left"}, "redundant names variables in a list; given 'left'"),
        ({"dead": ["lef"]}, "no internal variable 'lef'; did you mean 'left'"),
        ({"dead": ["left", "left"]}, "dead names a variable twice"),
        ({"redundant": ["same"]}, "no internal variable 'same'"),
        ({"leak": ["left"]}, "leak maps variables to shares"),
        ({"leak": {"left": 1.0}}, "must be above 0 and below 1; given 1.0"),
        ({"backup": ["left"]}, "backup names two variables"),
    ],
)
def test_options_that_do_not_fit_are_named(given, message):
    with pytest.raises(cm.CommuteError, match=message):
        cm.organisms.compile(EQUALITY, **given)


def test_what_is_no_model_is_told():
    for made in (cm.organisms.compile, cm.organisms.rivals):
        with pytest.raises(cm.CommuteError, match="made of a CausalModel; given 3"):
            made(3)


def test_an_organism_without_internal_variables_has_no_alignment():
    plain = cm.CausalModel("plain", {"a": cm.Bool}, {"o": lambda a: not a})
    with pytest.raises(cm.CommuteError, match="'plain' has no internal variable, so there is nothing to align"):
        _ = cm.organisms.compile(plain).alignment


def test_an_input_of_another_algorithm_is_named():
    organism = cm.organisms.compile(cm.library.hierarchical_equality(3))
    with pytest.raises(cm.CommuteError, match="the input 'b' of the organism: 4 is not in its domain"):
        organism.network.run({"a": 0, "b": 4, "c": 0, "d": 0})


def test_all_problems_are_told_at_once():
    with pytest.raises(cm.CommuteError, match="has 2 problems"):
        cm.organisms.compile(EQUALITY, scale=0, noise=-1)


def test_a_disguise_must_show_and_its_name_be_free():
    end = cm.CausalModel("end", {"x": cm.Bool}, {"v": lambda x: x, "w": lambda x: not x}, outputs=["w"])
    for disguise in ({"redundant": ["v"]}, {"leak": {"v": 0.5}}):
        with pytest.raises(cm.CommuteError, match="nothing reads 'v'"):
            cm.organisms.compile(end, **disguise)
    two = end.extended({"u": lambda x: x})
    with pytest.raises(cm.CommuteError, match="could read copies of both"):
        cm.organisms.compile(two, backup=["u", "v"])
    taken = end.extended({"dead copy of v": lambda x: x})
    with pytest.raises(cm.CommuteError, match="needs the name 'dead copy of v'"):
        cm.organisms.compile(taken, dead=["v"])


# Subspaces and alignments along them


@pytest.mark.parametrize(
    ("site", "directions", "message"),
    [
        ("blocks.0", torch.eye(3), "site must be a Site"),
        (SITE, torch.ones(3), "must be floating-point columns"),
        (SITE, torch.eye(3, dtype=torch.int64), "must be floating-point columns"),
        (SITE, [[1.0]], "must be floating-point columns, .* given list"),
        (SITE, torch.eye(3)[:2], "1 <= dims <= width"),
        (SITE, torch.ones(3, 0), "1 <= dims <= width"),
        (SITE, 1.001 * torch.eye(3), r"orthonormal; \|QᵀQ - I\| reaches 0.002"),
        (SITE, float("nan") * torch.eye(3), "orthonormal"),
    ],
)
def test_subspaces_are_orthonormal_columns_at_a_site(site, directions, message):
    with pytest.raises(cm.CommuteError, match=message):
        cm.organisms.Subspace(site, directions)


def test_joining_needs_one_site_and_orthogonal_directions():
    one = cm.organisms.Subspace(SITE, torch.eye(3)[:, :1])
    assert torch.equal(one.joined(cm.organisms.Subspace(SITE, torch.eye(3)[:, 2:])).directions, torch.eye(3)[:, [0, 2]])
    with pytest.raises(cm.CommuteError, match="orthonormal"):
        one.joined(one)
    for other in (cm.organisms.Subspace(cm.Site("blocks.1"), torch.eye(3)[:, 1:]), cm.organisms.Subspace(SITE, torch.eye(4))):
        with pytest.raises(cm.CommuteError, match="of one site can be joined"):
            one.joined(other)


def test_an_organism_has_the_variables_and_sites_that_it_speaks_of():
    organism = cm.organisms.compile(EQUALITY)
    nowhere = cm.organisms.Subspace(cm.Site("blocks.7"), torch.eye(3))
    with pytest.raises(cm.CommuteError, match=r"(?s)no variable 'lefd'.*no site 'blocks.7'"):
        cm.organisms.Organism(EQUALITY, organism.network, {"lefd": nowhere})


def test_an_alignment_along_subspaces_has_one_rotation_a_site():
    q = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0))).Q
    there = cm.Site("blocks.1")
    places = {"u": (SITE, q[:, :2]), "w": (there, q[:4, :0]), "v": (SITE, q[:, 3:4])}
    places["w"] = (there, torch.eye(4)[:, :3])
    subspaces = {v: cm.organisms.Subspace(*place) for v, place in places.items()}
    alignment = cm.Alignment.along(subspaces)
    assert list(alignment) == ["u", "w", "v"]
    assert alignment["u"].featurizer is alignment["v"].featurizer
    vectors = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    for v in ("u", "v"):
        assert torch.allclose(alignment[v].read(vectors), vectors @ subspaces[v].directions, atol=1e-6)
    moved = alignment["v"].write(vectors, torch.zeros(5, 1))
    assert torch.allclose(moved, vectors - vectors @ q[:, 3:4] @ q[:, 3:4].T, atol=1e-5)
    assert alignment["w"].site == there


def test_subspaces_that_cannot_be_set_apart_are_no_alignment():
    one = cm.organisms.Subspace(SITE, torch.eye(3)[:, :1])
    oblique = cm.organisms.Subspace(SITE, torch.full((3, 1), 3**-0.5))
    with pytest.raises(cm.CommuteError, match="'u' and 'v' are not orthogonal at blocks.0: a cosine is 0.58"):
        cm.Alignment.along({"u": one, "v": oblique})
    with pytest.raises(cm.CommuteError, match="vectors of width 3 and 4"):
        cm.Alignment.along({"u": one, "v": cm.organisms.Subspace(SITE, torch.eye(4)[:, 1:])})
    with pytest.raises(cm.CommuteError, match="no variable"):
        cm.Alignment.along({})
    with pytest.raises(cm.CommuteError, match="mapping from variables to subspaces"):
        cm.Alignment.along([one])
