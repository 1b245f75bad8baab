import numpy as np
import pytest

import commute as cm
from commute.errors import ClaimError, NetworkError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.ends import ends_of
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.runs import Runs
from commute.proofs.circuits.inflating import _inflated
from commute.proofs.circuits.random_circuits import Paths, random_circuit
from tests.models import families

BATCH = {"a": np.array([6, 7, 8, 9]), "b": np.array([10, 11, 12, 13])}


@pytest.fixture(scope="module")
def graph():
    """In which most nodes at earlier positions lead to logits that no answer is read of."""
    prompts = {"prompts": lambda s: [s["a"], s["b"], 7, s["a"], 9], "answers": {str(i): [i] for i in range(6, 12)}}
    network = cm.Network.from_transformers(families.model("gpt2"), None, **prompts)
    return computation_graph(network, BATCH, positions=[0, 3, -1])


@pytest.fixture(scope="module")
def leading(graph):
    """The edges on a path to the answer."""
    nodes = set(Circuit(graph, residual_edges(graph)).nodes)
    return {(u, v) for u, v in residual_edges(graph) if u in nodes and v in nodes}


def test_paths_lead_from_what_reads_nothing_to_what_the_answer_is_read_of(graph):
    assert len(ends_of(graph)) == 1 < len([node for node in graph if not graph.out_degree(node)])
    generator, starts = np.random.default_rng(0), set()
    for _ in range(200):
        path = Paths.of(graph).drawn(generator)
        assert all(graph.has_edge(*edge) for edge in path)
        assert [u for u, _ in path[1:]] == [v for _, v in path[:-1]]
        assert not graph.in_degree(path[0][0])
        assert path[-1][1] in ends_of(graph)
        starts.add(path[0][0])
    assert len(starts) > 1


@pytest.mark.parametrize("size", [6, 20])
def test_small_random_circuits_act_along_all_their_paths(graph, leading, size):
    generator = np.random.default_rng(size)
    for _ in range(50):
        drawn = random_circuit(graph, size, generator)
        assert len(set(drawn)) == size
        assert leading.issuperset(drawn)
        assert Circuit(graph, drawn).nodes


def test_other_edges_come_when_all_on_paths_are_there(graph, leading):
    generator, every = np.random.default_rng(0), residual_edges(graph)
    assert len(leading) < len(every) - 2
    assert leading.issuperset(random_circuit(graph, len(leading), generator))
    more = set(random_circuit(graph, len(leading) + 2, generator))
    assert len(more) == len(leading) + 2
    assert more > leading
    assert random_circuit(graph, len(every), generator) == every


def test_edges_that_inflate_a_circuit_are_on_paths_to_the_answer(graph, leading):
    circuit = Circuit(graph, ["input[-1]->logits[-1]"])
    runs = Runs.of(graph, BATCH, {v: x[::-1].copy() for v, x in BATCH.items()})
    masks, own = list(_inflated(circuit, runs, 50, np.random.default_rng(0))), runs.mask(circuit)
    added = {edge for mask in masks for edge, place in runs.index.items() if mask[place] and not own[place]}
    assert added
    assert added <= leading


def test_what_is_known_of_a_graph_is_found_once(graph):
    assert Paths.of(graph) is Paths.of(graph)


def test_a_size_that_no_circuit_has_is_told(graph):
    n = len(residual_edges(graph))
    with pytest.raises(ClaimError, match=f"a random circuit: the graph has {n} edges; given {n + 1}"):
        random_circuit(graph, n + 1, np.random.default_rng(0))
    with pytest.raises(ClaimError, match="size must be a whole number of at least 1; given 0"):
        random_circuit(graph, 0, np.random.default_rng(0))
    with pytest.raises(NetworkError, match="part of a computation graph"):
        random_circuit(None, 3, np.random.default_rng(0))
