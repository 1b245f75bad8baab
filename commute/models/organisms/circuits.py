"""The circuits of compiled networks: which of their nodes read what of which, known by construction."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise, product

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from commute.causal.batches import Batch
from commute.errors import NetworkError
from commute.models.circuits.circuit import Circuit
from commute.models.circuits.graph import Edge, graph_of
from commute.models.circuits.ports import Reads, Writes
from commute.models.circuits.stream import Stream
from commute.models.network import Network
from commute.models.organisms.blocks import NOISE, Block, Blocks, linear
from commute.models.organisms.cases import sizes_of
from commute.models.organisms.organism import Organism
from commute.models.passes import Encode as Encoding
from commute.models.sites import Tap

_END = "logits"
_ROUNDING = 1e-2  # what is read of one unit of what is written is over 0.1, or nothing but rounding

Nodes = Mapping[str, Tensor]  # the numbers of a value that are each node's


def known_circuit(organism: Organism) -> Circuit:
    """The circuit by which a compiled organism answers; its `graph` is the computation graph that it is part of.

    A node is all that one block computes, or passes on, of one name: `b0.left` is the variable `left` in block 0, `b1.left` the
    same passed on by block 1, `b0.dead copy of left` a copy. Inputs are `input.a`, and what is read at the end `logits`. A block
    reads nothing but what the one before it wrote, so there is an edge from every node of a block to every node of the next.

    In the circuit are the edges along which weights carry something, and then on to the logits: from each variable's parents
    to it, block by block. Distractors, noise and dead copies are left out. Copies that are read are in it, though no exchange of
    one edge alone shows that where a backup stands in.

    The graph runs a copy of the network in which what blocks write is filled up with zeros to one width, as a stream has one. It
    is of these weights alone, so `cm.verify` cannot hold a claim against shuffled ones: it refutes false circuits, and leaves
    true ones open, which `cm.prove` proves.

    Raises:
        NetworkError: for an organism that was not compiled, and one whose answer is constant.
    """
    module = organism.network.module
    if not isinstance(module, Blocks):
        raise NetworkError(
            f"the circuit of {organism.algorithm.name!r} is known only where cm.organisms.compile made the network; given "
            f"{organism.network!r}"
        )
    sizes = sizes_of(organism.algorithm)
    wide, head = _of_one_width(module)
    encode = partial(_encoded, organism.network.encode, head.in_features)
    network = Network(Blocks(wide, head).eval(), encode=encode, decode=organism.network.decode, name=organism.network.name)
    inputs = [v for v in organism.algorithm.inputs for _ in range(sizes[v])]
    layers = [_nodes("input", inputs), *(_nodes(f"b{t}", block.makes) for t, block in enumerate(wide))]
    layers.append({_END: torch.arange(module.head.out_features)})
    graph = graph_of(_stream(network, wide, layers))
    return Circuit(graph, _leading_to_the_end(_carrying(wide, head, layers)))


def _nodes(block: str, makes: Sequence[str]) -> Nodes:
    """The nodes of a block, and the units that are each one's."""
    return {f"{block}.{v}": torch.tensor([i for i, made in enumerate(makes) if made == v]) for v in dict.fromkeys(makes)}


def _of_one_width(module: Blocks) -> tuple[list[Block], nn.Linear]:
    """Blocks and a head with zeros after what they read and write, so that all of it is as wide as the widest."""
    blocks, head = [block for block in module.blocks if isinstance(block, Block)], module.head
    width = max(layer.in_features for layer in (*(b.read for b in blocks), head))
    wide = [
        Block(_filled(b.read, width, b.read.out_features), _filled(b.write, b.write.in_features, width), b.makes) for b in blocks
    ]
    return wide, _filled(head, width, head.out_features)


def _filled(layer: nn.Linear, takes: int, gives: int) -> nn.Linear:
    wider = (0, gives - layer.out_features)
    weight = pad(layer.weight.detach(), (0, takes - layer.in_features, *wider))
    return linear(weight.cpu().numpy(), pad(layer.bias.detach(), wider).cpu().numpy())


def _encoded(encode: Encoding, width: int, inputs: Batch) -> Tensor:
    """One-hot vectors and zeros after them, [batch, width]."""
    vectors: Tensor = encode(inputs)
    return pad(vectors, (0, width - vectors.shape[1]))


def _stream(network: Network, blocks: Sequence[Block], layers: Sequence[Nodes]) -> Stream:
    """What the nodes write and read, each layer of them only what the one before it wrote."""
    writes = [_write(v, Tap("blocks.0.read", input=True), torch.eye(blocks[0].read.in_features), u) for v, u in layers[0].items()]
    reads = []
    for t, (block, nodes) in enumerate(zip(blocks, layers[1:-1], strict=True)):
        reads += [_read(v, f"blocks.{t}.read", block.read, u) for v, u in nodes.items()]
        writes += [_write(v, Tap(f"blocks.{t}.relu"), block.write.weight.detach(), u) for v, u in nodes.items()]
    reads.append(Reads((_END,), Tap("head", input=True)))
    links = (torch.ones(len(after), len(before)) for before, after in pairwise(layers))
    edges = torch.block_diag(*links)  # type: ignore[no-untyped-call]
    return Stream(network, tuple(writes), tuple(reads), edges.bool())


def _write(node: str, tap: Tap, weight: Tensor, units: Tensor) -> Writes:
    return Writes((node,), tap, weight[:, units].T[None], units[None])


def _read(node: str, path: str, layer: nn.Linear, units: Tensor) -> Reads:
    weight, bias = layer.weight.detach()[units], layer.bias.detach()[units]
    return Reads((node,), Tap(path, input=True), None, Tap(path), weight.T[None], bias[None], units[None])


def _carrying(blocks: Sequence[Block], head: nn.Linear, layers: Sequence[Nodes]) -> list[Edge]:
    """The edges along which weights carry anything, noise aside."""
    written = [torch.eye(blocks[0].read.in_features), *(block.write.weight.detach() for block in blocks)]
    read = [*(block.read.weight.detach() for block in blocks), head.weight.detach()]
    found = []
    for (before, after), put, taken in zip(pairwise(layers), written, read, strict=True):
        carried = (taken @ put).abs()  # [units after, units before]
        pairs = product(before.items(), after.items())
        found += [(u, v) for (u, one), (v, other) in pairs if float(carried[other][:, one].max()) > _ROUNDING]
    return [edge for edge in found if not any(node.endswith(f".{NOISE}") for node in edge)]


def _leading_to_the_end(edges: Sequence[Edge]) -> list[Edge]:
    part: nx.DiGraph[str] = nx.DiGraph(edges)
    part.add_node(_END)
    reaching = {_END, *nx.ancestors(part, _END)}
    return [(u, v) for u, v in edges if v in reaching]
