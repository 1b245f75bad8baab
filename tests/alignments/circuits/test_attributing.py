import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.alignments.circuits.attributing import attributions
from commute.alignments.circuits.methods import EdgeAttribution, EdgePatching
from commute.errors import NetworkError
from commute.models.circuits.behaviour import SMOOTH, Behaviour
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.runs import Runs
from tests.alignments.circuits import networks
from tests.models import families
from tests.proofs.circuits import additive


def close(found, expected, within=1e-4):
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= within * float(expected.abs().max())
    assert float(expected.abs().max()) > 0


@pytest.mark.parametrize("options", [{}, {"positions": [0, -1]}, {"neurons": True}], ids=["whole", "positions", "neurons"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "opt", "phi3", *families.SHARING])
def test_attribution_is_its_definition_on_every_kind_of_decoder(family, options):
    graph, first, others = networks.language(family, **options)
    runs = Runs.of(graph, first, others)
    behaviour = Behaviour.of(runs)
    found = EdgeAttribution(steps=3).scores(runs, behaviour)
    close(found, networks.by_definition(runs, behaviour, 3, networks.sources(runs)))


@pytest.mark.parametrize("measure", SMOOTH)
@pytest.mark.parametrize("instead", ["mean", "zero"])
def test_attribution_is_its_definition_for_other_ablations_and_measures(instead, measure):
    graph, first, _ = networks.language("gemma2")
    runs = Runs.of(graph, first, cm.Zero() if instead == "zero" else cm.Mean(first))
    behaviour = Behaviour.of(runs, measure)
    found = EdgeAttribution(steps=2).scores(runs, behaviour)
    close(found, networks.by_definition(runs, behaviour, 2, networks.sources(runs)))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_path_of_activations_moves_one_layer_of_nodes_at_a_time(family):
    graph, first, others = networks.language(family)
    runs = Runs.of(graph, first, others)
    behaviour = Behaviour.of(runs)
    found = EdgeAttribution(steps=3, path="activations").scores(runs, behaviour)
    edges = residual_edges(graph)
    for writes in runs.stream.writes:
        mine = [i for i, (u, _) in enumerate(edges) if u in writes.nodes]
        close(found[mine], networks.by_definition(runs, behaviour, 3, writes.nodes)[mine])


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("parts", [False, True])
def test_attribution_is_its_definition_on_a_network_by_hand_that_works_in_place(mapped, parts):
    graph = networks.graph_by_hand(networks.residual(), mapped=mapped, parts=parts)
    runs = networks.runs_of(graph)
    behaviour = Behaviour.of(runs)
    found = attributions(runs, behaviour, steps=4, path="inputs")
    close(found, networks.by_definition(runs, behaviour, 4, networks.sources(runs)))


def test_blocks_of_inputs_give_what_all_at_once_give():
    graph, first, others = networks.language()
    runs = Runs.of(graph, first, others)
    behaviour = Behaviour.of(runs)
    whole = EdgeAttribution(steps=3).scores(runs, behaviour)
    runs.stream.network.batch_size = 3  # one input with its three steps
    close(EdgeAttribution(steps=3).scores(runs, behaviour), whole, 1e-5)


def test_in_a_linear_network_attribution_is_exact_patching_at_any_number_of_steps():
    graph = networks.graph_by_hand(networks.residual(act=nn.Identity))
    runs = networks.runs_of(graph)
    behaviour = Behaviour.of(runs)
    exact = EdgePatching().scores(runs, behaviour)
    for steps in (1, 3):
        close(EdgeAttribution(steps=steps).scores(runs, behaviour), exact, 1e-5)


def test_edges_from_the_input_add_up_to_what_the_behaviour_loses_with_the_other_input():
    graph, first, others = networks.language()
    runs = Runs.of(graph, first, others)
    behaviour = Behaviour.of(runs)
    with torch.no_grad():
        lost = behaviour(behaviour.whole) - behaviour(runs.scores([()])[0])
    from_input = [i for i, (u, _) in enumerate(residual_edges(graph)) if u == "input"]
    errors = [
        float((EdgeAttribution(steps=m).scores(runs, behaviour)[from_input].sum(0) - lost).abs().max()) for m in (1, 16, 256)
    ]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02 * float(lost.abs().max())


def test_attribution_works_where_gradients_are_off_and_leaves_the_network_as_found():
    graph, first, others = networks.language()
    module = graph.graph["stream"].network.module
    module.train()
    runs = Runs.of(graph, first, others)
    behaviour = Behaviour.of(runs)
    with torch.no_grad():
        found = EdgeAttribution(steps=1).scores(runs, behaviour)
    close(found, EdgeAttribution(steps=1).scores(runs, behaviour), 1e-6)
    assert module.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_attribution_in_inference_mode_is_an_error():
    graph, first, others = networks.language()
    runs = Runs.of(graph, first, others)
    behaviour = Behaviour.of(runs)
    with (
        torch.inference_mode(),
        pytest.raises(NetworkError, match=r"none in torch.inference_mode\(\); call it outside"),
    ):
        EdgeAttribution().scores(runs, behaviour)


@pytest.mark.parametrize("path", ["inputs", "activations"])
@pytest.mark.parametrize("positions", [None, [0, -1]])
def test_prompts_of_several_lengths_are_attributed_the_same_in_passes_of_few_rows(positions, path):
    net = cm.Network.from_transformers(
        families.model("gpt2"),
        None,
        prompts=lambda x: [x["a"], *[7] * int(x["long"]), x["b"], 9],
        answers={str(i): [i] for i in range(6, 12)},
    )
    long = {"long": np.array([0, 1, 2, 0, 0])}
    first = {"a": np.array([6, 7, 8, 9, 10]), "b": np.array([10, 11, 12, 13, 6])} | long
    others = {"a": np.array([9, 8, 7, 6, 7]), "b": np.array([13, 12, 11, 10, 9])} | long
    runs = Runs.of(computation_graph(net, first, positions=positions), first, others)
    behaviour = Behaviour.of(runs)
    method = EdgeAttribution(steps=2, path=path)
    whole = method.scores(runs, behaviour)
    for size in (1, 4, 6):
        net.batch_size = size
        close(method.scores(runs, behaviour), whole, 1e-5)


def test_inputs_of_several_lengths_with_no_mask_are_an_error_in_several_passes():
    graph, first, others = networks.language()
    made = graph.graph["stream"].network
    net = cm.Network(
        made.module,
        encode=lambda x: made.encode(x)["input_ids"][:, : 5 - int(x["short"].min())],
        decode=lambda x: x.logits[:, -1].argmax(-1),
    )
    short = {"short": np.array([1, 1, 0, 0])}
    runs = Runs.of(computation_graph(net, first | short), first | short, others | short)
    behaviour = Behaviour.of(runs)
    net.batch_size = 4
    with pytest.raises(NetworkError, match=r"has the shape \[5, 16\] for each input, what nodes write here \[4, 16\]"):
        EdgeAttribution(steps=2).scores(runs, behaviour)


def test_nan_on_the_way_is_told_with_its_row():
    x = np.array([[9.0, 9.0], [1.0, 1.0]])
    runs = Runs.of(additive.graph([1.0, 1.0], additive.Holed), additive.columns(x), additive.columns(-x))
    with pytest.raises(NetworkError, match="in row 1 the output is NaN, which is made by what edges carry"):
        EdgeAttribution(steps=5).scores(runs, Behaviour.of(runs))


def test_a_behaviour_of_other_inputs_is_refused():
    graph = networks.graph_by_hand(networks.residual())
    runs = networks.runs_of(graph)
    with pytest.raises(NetworkError, match="behaviour is that of other inputs"):
        EdgeAttribution().scores(runs, Behaviour.of(runs.take(np.arange(len(runs.batch["a"]))[::-1].copy())))


def test_a_measure_without_gradients_is_an_error():
    runs = networks.runs_of(networks.graph_by_hand(networks.residual()))
    with pytest.raises(NetworkError, match="accuracy has no gradients"):
        EdgeAttribution().scores(runs, Behaviour.of(runs, "accuracy"))


def test_the_divergence_in_one_step_is_an_error():
    runs = networks.runs_of(networks.graph_by_hand(networks.residual()))
    with pytest.raises(NetworkError, match="no slope where nothing is left out"):
        EdgeAttribution(steps=1).scores(runs, Behaviour.of(runs, "divergence"))


def test_scores_that_hide_their_gradients_are_an_error():
    graph = networks.graph_by_hand(networks.residual())
    stream = graph.graph["stream"]
    stream.network.decode = lambda y: y.detach().argmax(-1)
    runs = networks.runs_of(graph)
    with pytest.raises(NetworkError, match="patch edges instead"):
        EdgeAttribution().scores(runs, Behaviour.of(runs))


def test_a_path_to_what_a_node_cannot_add_is_an_error():
    graph = networks.graph_by_hand(networks.residual(), parts=True)
    runs = networks.runs_of(graph)
    other = Runs(graph, runs.batch, runs.instead + torch.randn(runs.instead.shape, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(NetworkError, match="nothing that they could add"):
        EdgeAttribution().scores(other, Behaviour.of(runs))


def test_an_edge_between_nodes_at_one_position_scores_by_that_position_alone():
    graph, first, others = networks.language()
    apart = computation_graph(graph.graph["stream"].network, first, positions=[0, 1, -1])
    whole, split = Runs.of(graph, first, others), Runs.of(apart, first, others)
    one = dict(zip(residual_edges(graph), EdgeAttribution().scores(whole, Behaviour.of(whole)), strict=True))
    sums = {}
    for (u, v), x in zip(residual_edges(apart), EdgeAttribution().scores(split, Behaviour.of(split)), strict=True):
        edge = u.partition("[")[0], v.partition("[")[0]
        sums[edge] = sums.get(edge, 0) + x
    close(torch.stack([sums[e] for e in one]), torch.stack(list(one.values())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_that_are_their_own_counterfactuals_score_nothing_on_the_path_of_activations(dtype):
    """Row by row, where what is to be added instead differs from what is added by rounding alone."""
    graph, first, others = networks.language()
    stream = graph.graph["stream"]
    stream.network.module.to(dtype)
    others = {k: np.concatenate([first[k][:2], x[2:]]) for k, x in others.items()}
    runs = Runs.of(graph, first, others)
    stream.network.batch_size = 2
    found = EdgeAttribution(steps=2, path="activations").scores(runs, Behaviour.of(runs)).float()
    assert found[:, :2].abs().max() <= 0.05 * found[:, 2:].abs().max()
    assert torch.isfinite(found).all()
