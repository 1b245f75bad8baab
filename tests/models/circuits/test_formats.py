"""Files of circuits: what is written is read again, as other tools write it, and what differs is told."""

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import commute as cm
from commute.errors import NetworkError
from commute.models.circuits.formats import read_circuit, write_circuit
from commute.models.circuits.graph import computation_graph, residual_edges
from commute.models.circuits.scored import Scored
from tests.models.circuits import nets

GRAPH = computation_graph(nets.hooked(), nets.BASE)
EDGES = residual_edges(GRAPH)
LLAMA = computation_graph(nets.decoder("llama"), nets.PROMPTS)
PARALLEL = computation_graph(nets.decoder("gpt_neox"), nets.PROMPTS)
ENDINGS = ["json", "pt", "txt"]


@pytest.mark.parametrize("graph", [GRAPH, LLAMA, PARALLEL], ids=["heads", "groups", "parallel"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_circuits_are_read_as_they_were_written(ending, graph, tmp_path):
    edges = residual_edges(graph)
    kept = cm.Circuit(graph, [*edges[::3], edges[-1], ("input", "logits")])
    write_circuit(kept, tmp_path / f"c.{ending}")
    assert read_circuit(graph, tmp_path / f"c.{ending}").circuit.edges == kept.edges


@pytest.mark.parametrize("graph", [GRAPH, LLAMA, PARALLEL], ids=["heads", "groups", "parallel"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_scores_are_read_as_they_were_written(ending, graph, tmp_path):
    scores = torch.randn(len(residual_edges(graph)), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    write_circuit(Scored(graph, scores), tmp_path / f"s.{ending}")
    found = read_circuit(graph, tmp_path / f"s.{ending}")
    assert torch.equal(found.scores, scores.float().double() if ending == "pt" else scores)
    assert found.keep is None


@settings(max_examples=20)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=len(EDGES), max_size=len(EDGES)), st.data())
def test_scores_and_a_circuit_are_kept_together(tmp_path_factory, scores, data):
    path = tmp_path_factory.getbasetemp() / "both.json"
    keep = set(data.draw(st.lists(st.sampled_from(EDGES))))
    both = Scored(GRAPH, torch.tensor(scores, dtype=torch.float64), tuple(e for e in EDGES if e in keep))
    write_circuit(both, path)
    found = read_circuit(GRAPH, path)
    assert torch.equal(found.scores, both.scores)
    assert found.keep == (None if len(keep) == len(EDGES) else both.keep)
    with pytest.raises(NetworkError, match="not both"):
        write_circuit(both, path.with_suffix(".txt"))


def test_the_files_are_those_of_the_circuit_track(tmp_path):
    """Names, and places of a few edges in the table, put down by hand after EAP-IG's own."""
    edge = ("a0.h1", "a1.h2<k>")
    scores = torch.tensor([float(e == edge) * 3 for e in EDGES])
    both = Scored(GRAPH, scores, (edge, ("a1.h2", "logits"), ("input", "a0.h1<q>")))
    write_circuit(both, tmp_path / "c.json")
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["cfg"] == {"n_layers": 2, "n_heads": 3, "parallel_attn_mlp": False, "d_model": 12}
    assert list(record["nodes"]) == ["input", "a0.h0", "a0.h1", "a0.h2", "m0", "a1.h0", "a1.h1", "a1.h2", "m1", "logits"]
    inside = {name for name, x in record["nodes"].items() if x["in_graph"]}
    assert inside == {"input", "a0.h1", "a1.h2", "logits"}
    assert record["edges"]["a0.h1->a1.h2<k>"] == {"score": 3.0, "in_graph": True}
    assert record["edges"]["m0->m1"] == {"score": 0.0, "in_graph": False}
    assert len(record["edges"]) == len(EDGES)
    write_circuit(both, tmp_path / "c.pt")
    record = torch.load(tmp_path / "c.pt", weights_only=True)
    assert record["src_nodes"] == ["input", "a0.h0", "a0.h1", "a0.h2", "m0", "a1.h0", "a1.h1", "a1.h2", "m1"]
    assert record["dst_nodes"][:11] == [*(f"a0.h{h}<{c}>" for c in "qkv" for h in range(3)), "m0", "a1.h0<q>"]
    assert record["edges_scores"].shape == record["edges_in_graph"].shape == (9, 2 * 10 + 1)
    assert record["edges_scores"].nonzero().tolist() == [[2, 10 + 3 + 2]]
    assert record["edges_in_graph"].nonzero().tolist() == [[0, 1], [2, 15], [7, 20]]
    assert record["nodes_in_graph"].tolist() == [name in inside for name in record["src_nodes"]]
    assert (record["edges_scores"].dtype, record["edges_in_graph"].dtype) == (torch.float32, torch.bool)


def test_heads_that_share_keys_are_written_each_and_must_agree(tmp_path):
    scores = torch.arange(len(residual_edges(LLAMA)), dtype=torch.float64)
    write_circuit(Scored(LLAMA, scores), tmp_path / "s.json")
    record = json.loads((tmp_path / "s.json").read_text())
    place = residual_edges(LLAMA).index(("m0", "a1.g1<v>"))
    assert [record["edges"][f"m0->a1.h{h}<v>"]["score"] for h in (2, 3)] == [place, place]
    record["edges"]["m0->a1.h3<v>"]["score"] = 0.5
    (tmp_path / "s.json").write_text(json.dumps(record))
    with pytest.raises(NetworkError, match=r"share what they read along m0->a1.g1<v> differ: \[.*0.5\]"):
        read_circuit(LLAMA, tmp_path / "s.json")


def test_edges_that_a_file_lacks_are_told(tmp_path):
    scores = torch.zeros(len(EDGES))
    for ending in ENDINGS:
        write_circuit(Scored(GRAPH, scores), tmp_path / f"s.{ending}")
    lines = (tmp_path / "s.txt").read_text().splitlines()
    (tmp_path / "s.txt").write_text("\n".join([*lines[1:], "m0->m7\t1.0"]))
    with pytest.raises(NetworkError, match=r"no edge 'm0->m7'; did you mean 'm0->m1'") as error:
        read_circuit(GRAPH, tmp_path / "s.txt")
    assert f"lacks 1 of the {len(EDGES)} edges of the graph, such as {lines[0].split()[0]}" in str(error.value)
    record = json.loads((tmp_path / "s.json").read_text())
    del record["edges"]["m0->m1"]
    (tmp_path / "s.json").write_text(json.dumps(record))
    with pytest.raises(NetworkError, match=r"lacks 1 of the .* such as m0->m1"):
        read_circuit(GRAPH, tmp_path / "s.json")


@pytest.mark.parametrize("ending", ["json", "pt"])
def test_files_of_other_networks_are_told(ending, tmp_path):
    path = tmp_path / f"c.{ending}"
    write_circuit(cm.Circuit(PARALLEL, residual_edges(PARALLEL)), path)
    with pytest.raises(NetworkError) as error:
        read_circuit(GRAPH, path)
    for told in ("n_heads is 4 there and 3 here", "parallel_attn_mlp is True there and False here", "d_model is 16 there"):
        assert told in str(error.value)


def test_tables_of_other_shapes_and_orders_are_told(tmp_path):
    path = tmp_path / "c.pt"
    write_circuit(cm.Circuit(GRAPH, EDGES), path)
    record = torch.load(path, weights_only=True)
    for change, told in (
        (
            {"edges_scores": torch.zeros(9, 20)},
            r"edges_scores must be a tensor of real numbers, \[src_nodes, dst_nodes\], \[9, 21\]; given \[9, 20\]",
        ),
        ({"edges_in_graph": 3}, r"edges_in_graph must be a tensor"),
        ({"src_nodes": record["src_nodes"][::-1]}, "src_nodes must be in the order input, a0.h0"),
        ({"dst_nodes": [*record["dst_nodes"][:-1], "logit"]}, "did you mean 'logits'"),
        ({"edges_scores": torch.full((9, 21), torch.nan)}, r"the score of .* is nan; it must be finite"),
    ):
        torch.save(record | change, path)
        with pytest.raises(NetworkError, match=told):
            read_circuit(GRAPH, path)
    torch.save({"cfg": record["cfg"]}, path)
    with pytest.raises(NetworkError, match="lacks 'edges_scores'"):
        read_circuit(GRAPH, path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"src_nodes": 5}, "src_nodes must be a list of names of nodes; given 5"),
        ({"src_nodes": None}, "src_nodes must be a list of names of nodes; given None"),
        ({"dst_nodes": [["m0"], ["m1"]]}, r"dst_nodes must be a list of names of nodes; given \[\['m0'\], \['m1'\]\]"),
        ({"src_nodes": {"input", "m0"}}, "src_nodes must be a list"),
        ({"edges_scores": torch.zeros(9, 21, dtype=torch.complex64)}, "real numbers, .*given one of torch.complex64"),
        ({"edges_scores": torch.zeros(9, 21, device="meta")}, "real numbers, .*on meta"),
        ({"edges_scores": torch.zeros(9, 21).to_sparse()}, "real numbers, .*sparse"),
        ({"edges_scores": torch.zeros(9, 21, dtype=torch.int32)}, "edges_scores must be floating; given torch.int32"),
        ({"edges_in_graph": torch.full((9, 21), 0.5)}, "edges_in_graph must be true or false, or 1 or 0"),
        ({"edges_in_graph": torch.full((9, 21), 7)}, "edges_in_graph must be true or false, or 1 or 0"),
        ({"edges_in_graph": torch.full((9, 21), torch.nan)}, "edges_in_graph must be true or false, or 1 or 0"),
        ({"cfg": {"n_layers": torch.tensor([2, 2])}}, r"n_layers is tensor\(\[2, 2\]\) there and 2 here"),
    ],
)
def test_what_a_file_holds_is_not_taken_for_something_else(change, told, tmp_path):
    path = tmp_path / "c.pt"
    write_circuit(cm.Circuit(GRAPH, EDGES), path)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(NetworkError, match=told):
        read_circuit(GRAPH, path)


def test_memberships_as_numbers_and_scores_with_gradients_are_read(tmp_path):
    path = tmp_path / "c.pt"
    write_circuit(Scored(GRAPH, torch.arange(len(EDGES)) / 8, tuple(EDGES[::3])), path)
    record = torch.load(path, weights_only=True)
    scores = record["edges_scores"].requires_grad_()
    torch.save(record | {"edges_in_graph": record["edges_in_graph"].float(), "edges_scores": scores}, path)
    found = read_circuit(GRAPH, path)
    assert found.keep == tuple(EDGES[::3])
    assert found.scores.tolist() == [i / 8 for i in range(len(EDGES))]
    assert not found.scores.requires_grad


class Runs:
    def __reduce__(self):
        return print, ("run",)


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "c.pt"
    torch.save({"cfg": Runs()}, path)
    with pytest.raises(NetworkError, match="does not hold tensors alone"):
        read_circuit(GRAPH, path)
    path.write_bytes(pickle.dumps(Runs()))
    with pytest.raises(NetworkError, match="does not hold tensors alone") as error:
        read_circuit(GRAPH, path)
    assert "weights_only" not in str(error.value)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("share", [0, 0.5])
def test_files_that_were_cut_off_are_told(share, tmp_path):
    path = tmp_path / "c.pt"
    write_circuit(cm.Circuit(GRAPH, EDGES), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(NetworkError, match=r"c\.pt is cut off, or is not one that torch\.save wrote; write or copy it again$"):
        read_circuit(GRAPH, path)


def test_importances_alone_and_memberships_alone_are_read(tmp_path):
    path = tmp_path / "c.json"
    write_circuit(Scored(GRAPH, torch.ones(len(EDGES)), tuple(EDGES[:2])), path)
    record = json.loads(path.read_text())
    for key in ("score", "in_graph"):
        fewer = record | {"edges": {name: {key: x[key]} for name, x in record["edges"].items()}}
        path.write_text(json.dumps(fewer))
        found = read_circuit(GRAPH, path)
        assert (found.scores is None) == (key == "in_graph")
        assert (found.keep is None) == (key == "score")
    path.write_text(json.dumps(record | {"edges": {name: {} for name in record["edges"]}}))
    with pytest.raises(NetworkError, match="neither scores nor edges"):
        read_circuit(GRAPH, path)
    record["edges"]["m0->m1"]["score"] = "high"
    path.write_text(json.dumps(record))
    with pytest.raises(NetworkError, match="score of m0->m1 must be a finite number; it is 'high'"):
        read_circuit(GRAPH, path)
    for score in (10**400, float("nan")):
        record["edges"]["m0->m1"]["score"] = score
        path.write_text(json.dumps(record))
        with pytest.raises(NetworkError, match="score of m0->m1 must be a finite number; it is"):
            read_circuit(GRAPH, path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("m0->m1\nm0->m1\n", "line 2 names m0->m1 again"),
        ("m0->m1 high\n", "line 1 must be 'u->v', or that and a number; it is 'm0->m1 high'"),
        ("m0->m1 1 2\n", "line 1 must be"),
        ("m0->m1 1\ninput->logits\n", "input->logits has no score"),
        ("m0->m3\n", "no edge 'm0->m3'"),
        ("m0\n", "line 1 must be 'u->v'"),
        ("", "lacks"),
    ],
)
def test_lists_that_cannot_be_read_say_why(text, told, tmp_path):
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(NetworkError, match=told):
        read_circuit(GRAPH, tmp_path / "c.txt")


def test_a_list_by_hand_is_a_circuit(tmp_path):
    (tmp_path / "c.txt").write_text("\nm0->logits\n  input->m0 \n")
    assert read_circuit(GRAPH, tmp_path / "c.txt").circuit.edges == (("input", "m0"), ("m0", "logits"))


def test_what_cannot_be_written_or_read_is_told(tmp_path):
    with pytest.raises(NetworkError, match=r"no format of circuits '.csv'; there is .json, .pt, .txt"):
        write_circuit(cm.Circuit(GRAPH, EDGES), tmp_path / "c.csv")
    with pytest.raises(NetworkError, match="there is no file"):
        read_circuit(GRAPH, tmp_path / "none.json")
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(NetworkError, match="is not JSON"):
        read_circuit(GRAPH, tmp_path / "c.json")
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(NetworkError, match=r"c\.json is not JSON of the format: maximum recursion"):
        read_circuit(GRAPH, tmp_path / "c.json")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NetworkError, match=r"c\.txt is not text in UTF-8"):
        read_circuit(GRAPH, tmp_path / "c.txt")
    (tmp_path / "c.json").write_text('{"cfg": {}, "edges": []}')
    with pytest.raises(NetworkError, match="of another network"):
        read_circuit(GRAPH, tmp_path / "c.json")
    for graph in (
        computation_graph(nets.hooked(), nets.BASE, positions=[0]),
        computation_graph(nets.decoder("gemma2"), nets.PROMPTS),
        computation_graph(nets.decoder("gpt2"), nets.PROMPTS, neurons=True),
    ):
        edges = residual_edges(graph)
        with pytest.raises(NetworkError, match="write it as .txt"):
            write_circuit(cm.Circuit(graph, edges), tmp_path / "c.json")
        write_circuit(cm.Circuit(graph, edges), tmp_path / "c.txt")
        assert read_circuit(graph, tmp_path / "c.txt").circuit.edges == tuple(edges)
    with pytest.raises(
        NetworkError, match=r"given \('m0', 'logits'\); of what a search found.*Scored\(found.graph, found.scores\)"
    ):
        write_circuit(("m0", "logits"), tmp_path / "c.json")
    with pytest.raises(NetworkError, match="one for each of the"):
        Scored(GRAPH, torch.zeros(3))
    with pytest.raises(NetworkError, match="choose edges by their scores"):
        _ = Scored(GRAPH, torch.zeros(len(EDGES))).circuit


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_are_written_to_folders_that_are_there(ending, tmp_path):
    (tmp_path / f"d.{ending}").mkdir()
    for path, told in (
        (tmp_path / "none" / f"c.{ending}", "there is no folder '.*none'"),
        (tmp_path / f"d.{ending}", "is a folder"),
    ):
        with pytest.raises(NetworkError, match=told):
            write_circuit(cm.Circuit(GRAPH, EDGES), path)


@pytest.mark.parametrize("path", [5, None])
def test_a_path_is_a_text_or_a_path(path):
    for run in (lambda: write_circuit(cm.Circuit(GRAPH, EDGES), path), lambda: read_circuit(GRAPH, path)):
        with pytest.raises(NetworkError, match=f"is a text or a Path; given {path}"):
            run()


def test_edges_kept_are_those_of_the_graph_however_they_are_named(tmp_path):
    named = Scored(GRAPH, keep=("m0->logits", ("input", "m0")))
    assert named.keep == (("input", "m0"), ("m0", "logits"))
    for ending in ENDINGS:
        write_circuit(named, tmp_path / f"c.{ending}")
        assert read_circuit(GRAPH, tmp_path / f"c.{ending}").keep == named.keep
    with pytest.raises(NetworkError, match="no edge 'm0->m7'; did you mean 'm0->m1'"):
        Scored(GRAPH, keep=(("m0", "m7"),))
    with pytest.raises(NetworkError, match="a list of edges or of nodes; given 5"):
        Scored(GRAPH, keep=5)


@pytest.mark.parametrize(
    ("scores", "told"),
    [([0.0] * len(EDGES), "given a list"), (torch.zeros(len(EDGES), dtype=torch.complex64), "given one of torch.complex64")],
)
def test_scores_are_real_numbers(scores, told):
    with pytest.raises(NetworkError, match=f"scores must be a tensor of real numbers, one for each of the .* edges; {told}"):
        Scored(GRAPH, scores)


def test_nodes_that_a_graph_lacks_for_a_format_are_named(tmp_path):
    attention = cm.zoo.induction()
    batch = cm.zoo.induction_sequences(8, seed=0)
    for graph, told in (
        (computation_graph(attention, batch), r"this graph lacks m0, m1; write it as \.txt"),
        (computation_graph(nets.hooked(), nets.BASE, positions=[0]), "has nodes for each position"),
        (computation_graph(nets.decoder("gpt2"), nets.PROMPTS, neurons=True), r"lacks m0, m1 and has m0\.n0, m0\.n1"),
    ):
        with pytest.raises(NetworkError, match=told):
            write_circuit(cm.Circuit(graph, residual_edges(graph)), tmp_path / "c.json")


def test_what_is_known_of_edges_reads_shortly():
    scores = torch.zeros(len(EDGES))
    assert repr(Scored(GRAPH, scores)) == f"Scored({len(EDGES)} edges with scores, no circuit)"
    assert repr(Scored(GRAPH, keep=tuple(EDGES[:2]))) == f"Scored({len(EDGES)} edges without scores, 2 kept)"
