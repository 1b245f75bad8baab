"""Training: what is trained together is what each item is by itself, and what it reports is what its features do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import commute as cm
from commute.alignments.drawing import search_pairs
from commute.alignments.judging import judged, of_features, of_items
from commute.alignments.method import At
from commute.alignments.starts import Start, begin
from commute.alignments.trainer import train
from commute.alignments.training import prepare, read_decisions
from commute.runs.seeds import stream
from tests import planted, subspaces

BOTH = ("left", "right")
METHODS = [
    cm.DAS(dims=2),
    cm.DAS(dims={"left": 1, "right": 3}, start_from="lda"),
    cm.DAS(dims=2, parametrisation="householder"),
    cm.BoundlessDAS(),
    cm.BinaryMask(),
    cm.BinaryMask(over="components", rotation=True),
    cm.NonlinearDAS(dims=2, layers=2, hidden=8),
]


def ready(network, algorithm, sites, n=256):
    """Pairs to train on and to select by at one place."""
    spec = cm.Search(BOTH, [sites], n=n)
    drawn = search_pairs(spec, algorithm, 0, ("test",))
    readout = read_decisions(network, drawn.train[0].pairs)
    place = spec.places[0]
    return place, *([prepare(network, [place], readout, d)[place] for d in part] for part in (drawn.train, drawn.select))


def begun(place, method, restart=0):
    return Start(method, place, stream(restart, "begin"), restart)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_an_item_trained_beside_others_is_what_it_is_alone(method):
    planted_here = subspaces.planted(0, dims=1)
    place, on, by = ready(planted_here.network, subspaces.algorithm(2), subspaces.SITE)
    method = replace(method, steps=12, batch=32, patience=99)
    together = train([begun(place, method, i) for i in range(3)], BOTH, {place: on}, {place: by})
    alone = [train([begun(place, method, i)], BOTH, {place: on}, {place: by})[0] for i in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one.losses, other.losses, atol=1e-4)
        x = torch.randn(4, subspaces.WIDTH, generator=torch.Generator().manual_seed(1))
        for v in BOTH:
            (f,), (g,) = one.features[v], other.features[v]
            assert f.dims == g.dims
            assert torch.allclose(f.read(x), g.read(x), atol=1e-3)
    assert not np.allclose(together[0].losses, together[1].losses)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_hardened_interchange_is_that_of_the_features(method):
    """Answers and losses of stacked parameters are those of the features that are reported."""
    planted_here = subspaces.planted(0, dims=1)
    _, on, by = ready(planted_here.network, subspaces.algorithm(2), subspaces.SITE)
    at = At(BOTH, subspaces.SITE, 0, subspaces.WIDTH, on)
    at = replace(at, basis=method.basis(at))
    drawn = [method.start(at, torch.Generator().manual_seed(i), i) for i in range(2)]
    stack = {k: torch.stack([x[k].detach() for x in drawn]) for k in drawn[0]}
    hard = method.hardened(stack, at)
    for here in by:
        (stacked,) = judged([of_items(method, [hard], [at], here, 60)])
        for i in range(2):
            found = {v: [f] for v, f in method.features({k: x[i] for k, x in hard.items()}, at).items()}
            (alone,) = judged([of_features(found, here, 60)])
            assert (stacked.right[i] == alone.right[0]).all()
            assert np.allclose(stacked.loss[i], alone.loss[0], atol=1e-4)
    if method in (METHODS[0], METHODS[2], METHODS[3]):  # random starts
        assert not stacked.right.all()


def test_places_of_other_depths_are_trained_in_one_pass_as_each_by_itself():
    """Rows of one pass begin at different sites of the network, with and without a cut in what is run before."""

    class Deep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.layers = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(4))
            for p in self.parameters():
                p.data = torch.randn(p.shape, generator=generator) / 2
            self.head = torch.nn.Linear(6, 2)

        def forward(self, x):
            for layer in self.layers:
                x = x + layer(x).tanh()
            return self.head(x)

    numbers = cm.Finite(range(6))
    algorithm = cm.CausalModel(
        "both",
        dict.fromkeys("ab", numbers),
        {"left": lambda a: a > 2, "right": lambda b: b > 2, "out": lambda left, right: left & right},
    )
    table = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    network = cm.Network(
        Deep().eval(),
        encode=lambda batch: torch.cat([table[torch.from_numpy(batch[v])] for v in "ab"], 1),
        decode=lambda x: x.argmax(-1).bool(),
    )
    method = cm.DAS(dims=1, steps=9, batch=16, restarts=2)
    sites = [network.site(f"layers.{i}") for i in range(4)]
    found = cm.search(algorithm, network, variables=BOTH, sites=sites, method=method, n=128)
    for i, site in enumerate(sites):
        alone = cm.search(algorithm, network, variables=BOTH, sites=[site], method=method, n=128)
        for one, other in zip(found.candidates[2 * i : 2 * i + 2], alone.candidates, strict=True):
            assert one.site == other.site == site
            assert np.allclose(one.losses, other.losses, atol=1e-4)


@pytest.mark.parametrize("dims", [3, subspaces.WIDTH])
def test_das_follows_pyvenes_rotation_from_the_same_start(dims):
    """The same pairs and optimiser give the same loss for 50 steps to 1e-5: of a low-rank and of a full rotation."""
    from pyvene.models.interventions import LowRankRotatedSpaceIntervention, RotatedSpaceIntervention

    network, algorithm = subspaces.planted(0, dims=2).network, subspaces.algorithm(3)
    network.module.double()  # Adam makes steps of gradients that are nothing but rounding
    width = subspaces.WIDTH
    spec = cm.Search(["left"], [subspaces.SITE], n=512)
    drawn = search_pairs(spec, algorithm, 0, ("test",))
    (place,) = spec.places
    here = prepare(network, [place], read_decisions(network, drawn.train[0].pairs), drawn.train[0])[place]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        theirs = (
            RotatedSpaceIntervention(embed_dim=width)
            if dims == width
            else LowRankRotatedSpaceIntervention(embed_dim=width, low_rank_dimension=dims)
        ).double()
    if dims == width:
        theirs.set_interchange_dim(4)  # only the first of its coordinates are exchanged
    layer = theirs.rotate_layer.parametrizations.weight
    kind = "exponential" if dims == width else "householder"
    start = layer.original.detach().clone(), layer[0].base.clone()

    class Given(cm.DAS):
        """DAS from pyvene's start."""

        def start(self, at, generator, restart):
            return {"free": start[0].clone().requires_grad_(), "base": start[1].clone()}

    used = 4 if dims == width else dims
    sizes = {"left": used, "rest": dims - used} if dims > used else {"left": used}
    method = Given(dims=sizes, steps=50, batch=64, learning_rate=0.01, parametrisation=kind, patience=99)
    begun = Start(method, place, stream(3, "begin"), 0)
    (found,) = train([begun], tuple(sizes), {place: [here]}, {place: [here]})
    again = Start(method, place, stream(3, "begin"), 0)
    begin(again, [At((*sizes,), subspaces.SITE, 0, width, [here])], len(here))
    drawn_rows = again.rows
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    losses = []
    vectors = network.activations(here.pairs.base, [subspaces.SITE])[subspaces.SITE]
    module = network.module.requires_grad_(False)
    for rows in drawn_rows:
        patched = theirs(vectors[rows], here.vectors["left"][0][rows])
        hook = module.hidden.register_forward_hook(lambda m, x, y, patched=patched: patched)
        base = {v: x[rows.numpy()] for v, x in here.pairs.base.items()}
        loss = cross_entropy(module(network.encode(base)), here.choices[rows])
        hook.remove()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    assert np.abs(np.array(losses) - found.losses).max() < 1e-5
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_not_finite_stops_its_item_and_no_other():
    place, on, by = ready(planted.network(), planted.algorithm(), planted.SITE)

    class Breaks(cm.DAS):
        def penalty(self, parameters, at, progress):
            found = super().penalty(parameters, at, progress)
            return found * torch.nan if progress > 0.4 and self.dims == 2 else found

    starts = [begun(place, Breaks(dims=d, steps=20, batch=16, patience=99)) for d in (1, 2)]
    fine, broken = train(starts, BOTH, {place: on}, {place: by})
    assert len(fine.losses) == 20
    assert isinstance(broken, cm.CommuteError)
    assert "the loss at hidden is nan in step 9; try a smaller learning_rate" in str(broken)


def test_training_stops_when_it_no_longer_helps():
    place, on, by = ready(planted.network(), planted.algorithm(), planted.SITE)
    (found,) = train([begun(place, cm.DAS(dims=1, steps=400, patience=2))], BOTH, {place: on}, {place: by})
    assert len(found.losses) < 400
    (whole,) = train([begun(place, cm.DAS(dims=1, steps=40, patience=99))], BOTH, {place: on}, {place: by})
    assert len(whole.losses) == 40


def test_passes_are_cut_where_there_is_little_room_and_losses_stay():
    few = cm.Network(planted.Planted(), encode=planted.encode, decode=lambda x: x.argmax(-1).bool(), batch_size=24)
    losses = []
    for network in (planted.network(), few):
        place, on, by = ready(network, planted.algorithm(), planted.SITE)
        starts = [begun(place, cm.DAS(dims=1, steps=6, batch=16), i) for i in range(3)]
        losses.append([x.losses for x in train(starts, BOTH, {place: on}, {place: by})])
    assert np.allclose(*losses, atol=1e-5)
