"""Along which edges does a network's answer come about, and what becomes of it when one of them is cut?

    python examples/circuits.py [--folder ../shared/models/apollo_modadd113_seed2]      # with it two minutes on one core

A circuit claims that outside some edges of the computation graph nothing matters: along the edges that are left out then flows
what flows there for another input. Divergence is from the whole network's probabilities, in nats.

Induction, in the small transformer of the zoo: the answer is the token that followed the last one when it came before. Which two
heads are meant is told by where they attend: a0.h3 to the token before, a1.h1 to what followed. The claim is that a0.h3 takes the
token before into what becomes the keys of a1.h1, that the last token's query finds it there, and that a1.h1 takes the token at
that place to the answer:

                                   another sequence instead
                             edges                 accuracy divergence
    the whole network           81                    1.000      0.000
    the circuit                  5                    0.996      0.013
    the circuit without the path 4                    0.154      6.877
    all but the path            80                    0.160      6.729
    all but the circuit         76                    0.051     10.303
    nothing                      0                    0.051     10.357

So the edge a0.h3->a1.h1<k>, one of 81, is the path from one head to the other. Queries and keys of a0.h3 are not in the
circuit: it finds the token before by positions, which are the same in every sequence. The verdicts, on 4,000 fresh pairs of
sequences: that the circuit keeps 95% of answers holds, at 99% confidence (at least .97 where the answer changes when nothing
is kept, and where it does not; random circuits at most .17, the same edges of a network with shuffled weights at most .02),
and without the path it is refuted.

Addition modulo 113, in a transformer of one layer on [a, b, =] (2301.05217), on all 12,769 inputs. With the mean over these in
place of what is left out nothing is left to chance; with another input one is drawn for each:

                                   mean instead            another input instead
                             edges     accuracy divergence              accuracy divergence
    the whole network           23        1.000      0.000                 1.000      0.000
    the circuit                 13        1.000      0.000                 1.000      0.000
    the circuit without keys     9        0.568      3.195                 0.450      8.576
    all but a0.h0               21        0.523      3.137                 0.232     11.292
    all but a0.h1               21        0.491      5.522                 0.414     14.242
    all but a0.h2               21        0.375      4.736                 0.154     15.699
    all but a0.h3               21        0.641      2.905                 0.466      9.712
    all but the circuit         10        0.009     18.683                 0.009     53.777
    nothing                      0        0.009     19.206                 0.009     53.777
    at single positions         21        1.000      0.000                 1.000      0.000
    all but these               71        0.009     18.683                 0.009     53.777

All four heads matter, by the values and the keys that they read of a and b, and all that they write matters only as the hidden
layer reads it: 13 of 23 edges, at single positions 21 of 92, keep every answer, and without them no more is right than by
chance (1 in 113). Each of the 13 matters by itself. Where heads look matters: with other keys about half of the answers are
wrong. The claim that the 13 edges keep 95% of answers holds against random circuits (at most .26) and the same edges of a
network with shuffled weights (.13), and that the nine without keys do is refuted. What it is that flows along the edges, no
circuit says; examples/modular_addition.py asks that of the hidden layer.
"""

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

import commute as cm

if TYPE_CHECKING:
    import networkx as nx

MODULUS = 113
HEADS = [f"a0.h{i}" for i in range(4)]  # of the network that adds
LISTED = 0.05  # nats of divergence from which on an edge is listed
OTHER, FRESH = 10_000, 20_000  # the seeds of other inputs, and of those that verdicts are given on
PAIRS = 4000  # of a sequence and another, that a verdict on induction is given on


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--folder", type=Path, help="of a transformer that adds modulo 113, with nets.py beside it")
    options.add_argument("--sequences", type=int, default=512, help="that induction is measured on")
    options.add_argument("--pairs", type=int, default=PAIRS, help="of sequences, for the verdicts on induction")
    given = options.parse_args()
    if min(given.sequences, given.pairs) < 2:
        options.error("--sequences and --pairs must be at least 2")
    try:
        print(told(induction(given.sequences, pairs=given.pairs)))
        if given.folder is not None:
            print(f"\n{told(addition(load(given.folder)))}")
    except (FileNotFoundError, cm.CommuteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


# What is measured of any network, and how it is told.


@dataclass(frozen=True)
class Behaving:
    """A network on some inputs, with the right answers, and what flows along edges that are left out, by its name."""

    graph: "nx.DiGraph[str]"
    inputs: Mapping[str, np.ndarray]
    answers: np.ndarray
    instead: Mapping[str, cm.circuits.Instead]

    def kept(self, circuits: Mapping[str, Sequence[cm.circuits.Edge]]) -> pd.DataFrame:
        """A row for each circuit: how many edges it has, and accuracy and divergence, by what flows along the others."""
        found = {("", "edges"): [len(edges) for edges in circuits.values()]}
        for name, instead in self.instead.items():
            runs = cm.circuits.Runs.of(self.graph, self.inputs, instead)
            scores = runs.scores(list(circuits.values()))
            right = cm.circuits.Behaviour.of(runs, "accuracy", answers=runs.readout.choices(self.answers))
            near = cm.circuits.Behaviour.of(runs, "divergence")
            found[name, "accuracy"] = right(scores).mean(-1).numpy()
            found[name, "divergence"] = near(scores).mean(-1).abs().numpy()
        return pd.DataFrame(found, index=list(circuits))

    def alone(self) -> pd.DataFrame:
        """A row for each edge, which is cut alone."""
        every = cm.circuits.residual_edges(self.graph)
        return self.kept({"->".join(cut): [edge for edge in every if edge != cut] for cut in every})


@dataclass(frozen=True)
class Study:
    """What circuits keep, a row each; what is kept when an edge is cut alone, a row each; and verdicts on some circuits."""

    title: str
    circuits: pd.DataFrame
    edges: pd.DataFrame
    verdicts: Mapping[str, cm.Verdict]


def told(study: Study) -> str:
    """Both tables, of edges those that matter, the worst first; and the verdicts."""
    losses = study.edges.xs("divergence", axis=1, level=1).max(axis=1).sort_values(ascending=False)
    few = study.edges.loc[losses[losses >= LISTED].index].drop(columns=[("", "edges")])
    rest = f"each of the {len(losses) - len(few)} other edges: divergence below {LISTED}"
    verdicts = [f"{name}: {verdict}" for name, verdict in study.verdicts.items()]
    return "\n\n".join([study.title, table(study.circuits), f"Cut alone:\n{table(few)}\n{rest}", *verdicts])


def table(rows: pd.DataFrame) -> str:
    return rows.to_string(float_format="{:.3f}".format)


# Induction: the heads are found by where they attend, and the circuit is stated.


def induction(n: int = 512, *, pairs: int = PAIRS) -> Study:
    """The circuit of two heads in the zoo's network, and what becomes of it without the path between them."""
    network, inputs, other = cm.zoo.induction(), *(cm.zoo.induction_sequences(n, seed=seed) for seed in (0, OTHER))
    graph = cm.computation_graph(network, inputs)
    here = Behaving(graph, inputs, cm.zoo.induction_answers(inputs), {"another sequence instead": other})
    previous, copying = attending(network, inputs)
    path = (previous, f"{copying}<k>")
    circuit = cm.Circuit(graph, keep=induced(previous, copying))
    every = cm.circuits.residual_edges(graph)
    circuits = {
        "the whole network": every,
        "the circuit": circuit.edges,
        "the circuit without the path": [edge for edge in circuit.edges if edge != path],
        "all but the path": [edge for edge in every if edge != path],
        "all but the circuit": circuit.complement,
        "nothing": [],
    }
    title = f"induction: {previous} attends to the token before, {copying} to what followed; the path is {'->'.join(path)}"
    fresh = cm.zoo.induction_sequences(2 * pairs, seed=FRESH)
    claims = {name: cm.Circuit(graph, circuits[name]) for name in ("the circuit", "the circuit without the path")}
    verdicts = {name: cm.verify(claim, fresh, n=pairs) for name, claim in claims.items()}
    return Study(title, here.kept(circuits), here.alone(), verdicts)


def induced(previous: str, copying: str) -> list[cm.circuits.Edge]:
    """The edges by which two heads repeat what followed the last token."""
    return [
        ("input", f"{previous}<v>"),  # the token before,
        (previous, f"{copying}<k>"),  # which the other head finds
        ("input", f"{copying}<q>"),  # by the last token,
        ("input", f"{copying}<v>"),  # and moves the token there
        (copying, "logits"),  # to the answer
    ]


def attending(network: cm.Network, inputs: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """The head of layer 0 that attends most to the token before, and that of layer 1 that does to what followed the last token.

    The weights of the first are looked at in the first half of a sequence, which is where the last token is found again. Heads
    that write nothing may attend anywhere, so weights are multiplied by the size of what a head adds.
    """
    found = {}
    size = len(inputs)
    tokens = np.stack(list(inputs.values()), axis=1)
    followed = (tokens[:, :-1] == tokens[:, -1:]).argmax(1) + 1
    for (layer, head), site in network.heads("pattern").items():
        weights = network.activations(inputs, [site])[site].reshape(-1, size, size).numpy()  # [batch, query, key]
        before = weights.diagonal(-1, axis1=1, axis2=2)[:, : size // 2 - 1].mean()
        after = weights[np.arange(len(weights)), -1, followed].mean()
        found[layer, head] = (before, after)[layer] * written(network, layer, head)
    return tuple(max((f"a{i}.h{j}" for i, j in found if i == layer), key=lambda h: found[layer, int(h[4:])]) for layer in (0, 1))


def written(network: cm.Network, layer: int, head: int) -> float:
    """The size of the weights by which a head adds to the residual stream."""
    own = network.module.layers[layer].attention
    return float(own.o_proj.weight.detach().unflatten(1, (own.num_heads, -1))[:, head].norm())


# Modular addition: the network is given hook points, and the circuit is stated at single positions.


class HookedAttention(nn.Module):
    """The attention of nets.py with a hook point for all that heads read and give, as in TransformerLens."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.n_heads = len(own.W_Q)
        for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
            setattr(self, name, getattr(own, name))
        for name in ("hook_q", "hook_k", "hook_v", "hook_pattern", "hook_z"):
            setattr(self, name, nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What each position takes from itself and those before it, [batch, position, width]."""
        q = self.hook_q(torch.einsum("bpd,hde->bphe", x, self.W_Q) + self.b_Q)
        k = self.hook_k(torch.einsum("bpd,hde->bphe", x, self.W_K) + self.b_K)
        v = self.hook_v(torch.einsum("bpd,hde->bphe", x, self.W_V) + self.b_V)
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / q.shape[-1] ** 0.5
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        pattern = self.hook_pattern(scores.masked_fill(later, -torch.inf).softmax(-1))
        z = self.hook_z(torch.einsum("bhqk,bkhe->bqhe", pattern, v))
        return torch.einsum("bqhe,hed->bqd", z, self.W_O) + self.b_O


def hooked(module: nn.Module) -> nn.Module:
    """A copy of a transformer of nets.py whose attention has hook points."""
    copied = deepcopy(module)
    for block in copied.blocks:
        block.attn = HookedAttention(block.attn)
    return copied


def load(folder: Path) -> cm.Network:
    """The trained transformer of a folder with hook points, checked to compute the same logits on every input.

    Raises:
        FileNotFoundError: when there is no such transformer.
        cm.CommuteError: when the copy computes something else.
    """
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} has no model.safetensors; give a folder of trained weights")
    spec = importlib.util.spec_from_file_location("nets", folder.parent / "nets.py")
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    module, _ = nets.load(folder.name, folder.parent)
    copied, tokens = hooked(module), encode(sums())
    with torch.no_grad():
        difference = float((copied(tokens) - module(tokens)).abs().max())
    if not difference < 1e-3:
        raise cm.CommuteError(f"with hook points {folder.name} gives other logits, by up to {difference:.2g}; it must be causal")
    return cm.Network(copied, encode=encode, decode=decode, name=folder.name, batch_size=1024)


def sums() -> dict[str, np.ndarray]:
    """All 12,769 inputs."""
    a, b = np.divmod(np.arange(MODULUS**2), MODULUS)
    return {"a": a, "b": b}


def encode(inputs: Mapping[str, np.ndarray]) -> torch.Tensor:
    """Tokens a, b and the sign for "equals", [batch, 3]."""
    return torch.from_numpy(np.stack([inputs["a"], inputs["b"], np.full_like(inputs["a"], MODULUS)], axis=1))


def decode(logits: torch.Tensor) -> torch.Tensor:
    """The residue with the largest logit at the last position, [batch]."""
    return logits[:, -1, :MODULUS].argmax(-1)


def addition(network: cm.Network, inputs: Mapping[str, np.ndarray] | None = None) -> Study:
    """The circuit of all heads, which read a and b for the hidden layer, on all inputs or those given; then at positions."""
    inputs = sums() if inputs is None else inputs
    order = np.random.default_rng(OTHER).permutation(len(inputs["a"]))
    instead = {"mean instead": cm.Mean(inputs), "another input instead": {k: v[order] for k, v in inputs.items()}}
    answers = (inputs["a"] + inputs["b"]) % MODULUS
    graph, placed = (cm.computation_graph(network, inputs, positions=positions) for positions in (None, (0, 1, 2)))
    here, there = (Behaving(g, inputs, answers, instead) for g in (graph, placed))
    read = [("input", f"{h}<{part}>") for h in HEADS for part in "kv"]
    circuit = cm.Circuit(graph, [*read, *((h, "m0") for h in HEADS), ("m0", "logits")])
    at_places = [(f"{u}[{p}]", f"{v}[{p}]") for u, v in read for p in (0, 1)] + [
        (f"{u}[2]", f"{v}[2]") for u, v in circuit.edges if u != "input"
    ]
    every = cm.circuits.residual_edges(graph)
    circuits = {
        "the whole network": every,
        "the circuit": circuit.edges,
        "the circuit without keys": [edge for edge in circuit.edges if "<k>" not in edge[1]],
        **{f"all but {h}": [edge for edge in every if edge[0] != h] for h in HEADS},
        "all but the circuit": circuit.complement,
        "nothing": [],
    }
    at = cm.Circuit(placed, at_places)
    rows = [here.kept(circuits), there.kept({"at single positions": at.edges, "all but these": at.complement})]
    title = f"{network.name}: (a + b) mod {MODULUS} on {len(answers):,} inputs"
    claims = {name: cm.Circuit(graph, circuits[name]) for name in ("the circuit", "the circuit without keys")}
    verdicts = {name: cm.verify(claim, inputs, instead=cm.Mean(inputs), n=len(answers)) for name, claim in claims.items()}
    return Study(title, pd.concat(rows), here.alone(), verdicts)


if __name__ == "__main__":
    sys.exit(main())
