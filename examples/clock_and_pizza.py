"""Two transformers add modulo 59 by different algorithms: where is each input held separately, and where only their sum?

    python examples/clock_and_pizza.py [--folder ../shared/models] [--csv runs/clock_and_pizza.csv]      # two minutes on one core
    commute run examples/clock_and_pizza.py::embeddings_added -P folder=../shared/models/pizza_modelA_pizza

2306.17844 calls the networks a pizza and a clock. The pizza's attention weighs both tokens alike, so what reaches its MLP is a
sum of embeddings; the clock multiplies cos and sin of one input by those of the other, through its attention. Both hypotheses
are claims about interchanges. Separately: `left` and `right` lie in disjoint subspaces of a place, and taking `left` alone from
another input changes a alone in a + b. Sum: a subspace holds a + b. A search looks for both at every place. Two alignments are
given: that the attention only adds the tokens' vectors, so that its weights may be another input's ("vectors added"), and that
the weights are the right input's share of a product ("vector times weights"). IIA in percent [99% bounds] on 2,048 fresh pairs:

    pizza                  dims         left        right         both   dims          sum
    both embeddings          12 100 [99,100] 100 [99,100] 100 [99,100]     12 100 [99,100]
    attention weights         4      1 [0,3]      2 [1,3]      2 [1,3]      4      1 [0,3]
    attention output          8      6 [4,7]      5 [3,7]      4 [2,5]     12 100 [99,100]
    MLP input                12      7 [5,9]     8 [6,10]      7 [5,9]     12 100 [99,100]
    MLP hidden layer          4      2 [0,3]      2 [1,3]      2 [1,3]      8 100 [99,100]
    MLP output                4      1 [0,3]      2 [1,3]      2 [1,3]      8 100 [99,100]
    vectors added               100 [99,100] 100 [99,100] 100 [99,100]
    vector times weights        100 [99,100]      2 [1,3]      1 [0,3]

    clock                  dims         left        right         both   dims          sum
    both embeddings           8 100 [99,100] 100 [99,100] 100 [99,100]      8 100 [99,100]
    attention weights         4      2 [1,4]      3 [2,5]      2 [1,3]      4      1 [0,2]
    attention output          8      4 [2,6]      3 [2,5]      3 [2,5]     12 100 [99,100]
    MLP input                12      4 [3,6]      5 [3,6]      4 [3,6]     12 100 [99,100]
    MLP hidden layer          4      1 [0,3]      2 [1,3]      1 [0,3]      8 100 [99,100]
    MLP output                4      1 [0,3]      2 [1,3]      2 [1,3]      8 100 [99,100]
    vectors added                 72 [69,75] 100 [99,100]   69 [66,71]
    vector times weights        100 [99,100]      2 [1,4]      2 [1,4]

Where both embeddings are exchanged, at the tokens, each input is separate, of course, and the same search finds it. From the
attention's output on it finds no subspaces for left and right in either network (dims mean nothing there). That is no proof
that there are none. Only for the pizza's attention output is there a reason: it is the same for (a, b) and (b, a), whose answers
would have to be a' + b and a' + a, and nothing else of these inputs goes on that matters. The sum is found from there on in
both, in as many of 4, 8, 12 or 16 dims. So neither hypothesis, searched for at one place, tells the networks apart.

What tells them apart is whether the attention's weights matter. With another input's weights the pizza is always right: its
weights are constant by construction. The clock is right in about 70%, far from what adding claims, yet far above chance: its
weights matter, and its answer does not rest on them alone. They are no factor that one input decides: with the weights of
another input the answer is not a + b', and the search finds neither input in a part of them. So "multiplied" is supported only
in that adding is refuted. In both networks `right` under "vectors added" shows that the second token's embedding matters only
as the attention reads it, not as it goes past.

The claims below say the same: `embeddings_added` holds of the pizza and is refuted of the clock; `sum_of_both` holds of both;
`each_input_separately` is refuted of both, which is to say of the subspaces that were found.
"""

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import commute as cm

MODULUS = 59
NETWORKS = {"pizza": "pizza_modelA_pizza", "clock": "pizza_modelB_clock"}
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "models"
DIMS = (4, 8, 12, 16)  # that a variable may take at a site
LEGEND = "IIA in percent [99% bounds] on fresh pairs; dims of each variable, in each token's vector for both embeddings"
FRESH = 10_000  # the seed of the pairs that alignments are measured on; searches have seed 0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--folder", type=Path, default=FOLDER, help="with a folder for each network, and nets.py")
    options.add_argument("--pairs", type=int, default=2048, help="to search with, and fresh ones for each number told")
    options.add_argument("--steps", type=int, default=150, help="of each search, at most")
    options.add_argument("--csv", type=Path, default=Path("runs/clock_and_pizza.csv"), help="where every number is written")
    given = options.parse_args()
    try:
        networks = {name: load(given.folder / folder) for name, folder in NETWORKS.items()}
        found = {name: study(network, n=given.pairs, steps=given.steps) for name, network in networks.items()}
    except (FileNotFoundError, cm.CommuteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(LEGEND)
    for name, rows in found.items():
        print(f"\n{table(name, rows)}")
    given.csv.parent.mkdir(parents=True, exist_ok=True)
    pd.concat([rows.assign(network=name) for name, rows in found.items()]).to_csv(given.csv, index=False)
    print(f"\nEvery number, with the no-op baseline: {given.csv}")
    return 0


# The networks.


def load(folder: Path) -> cm.Network:
    """The trained transformer of a folder, with its loader `nets.py` beside it."""
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} has no model.safetensors; give a folder of trained weights")
    spec = importlib.util.spec_from_file_location("nets", folder.parent / "nets.py")
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    module, _ = nets.load(folder.name, folder.parent)
    return cm.Network(module, encode=encode, decode=decode, name=folder.name, batch_size=4096)


def encode(inputs: dict[str, np.ndarray]) -> torch.Tensor:
    """Tokens a and b, [batch, 2]."""
    return torch.from_numpy(np.stack([inputs["a"], inputs["b"]], axis=1))


def decode(logits: torch.Tensor) -> torch.Tensor:
    """The residue with the largest logit at the last position, [batch]."""
    return logits[:, -1, :MODULUS].argmax(-1)


def places(network: cm.Network) -> dict[str, cm.Site | list[cm.Site]]:
    """The places to search, in the order in which they are computed; all but the first at the last position."""
    return {
        "both embeddings": [network.site("blocks.0", input=True, position=p) for p in (0, 1)],
        "attention weights": weights(network),
        "attention output": network.site("blocks.0.attn", position=-1),
        "MLP input": network.site("blocks.0.mlp", input=True, position=-1),
        "MLP hidden layer": network.site("blocks.0.mlp.post", position=-1),
        "MLP output": network.site("blocks.0.mlp", position=-1),
    }


def weights(network: cm.Network) -> cm.Site:
    """How much each head attends to each token from the last position."""
    return network.site("blocks.0.attn.pattern", position=-1, position_axis=2)


# The hypotheses.


def separately() -> cm.CausalModel:
    """Each input in a variable of its own, then their sum."""
    residues = cm.Finite(range(MODULUS))
    return cm.CausalModel(
        f"each input separately, then their sum modulo {MODULUS}",
        {"a": residues, "b": residues},
        {"left": lambda a: a, "right": lambda b: b, "answer": lambda left, right: (left + right) % MODULUS},
        domains={"left": residues, "right": residues, "answer": residues},
    )


def together() -> cm.CausalModel:
    """Their sum alone."""
    return cm.library.modular_addition(MODULUS)


def added(network: cm.Network) -> cm.Alignment:
    """That only the tokens' own vectors count, as the attention reads them: whatever the weights, they add up to the answer.

    The weights go with the left input: where it is interchanged they are its source's, made for another right input. Where only
    the right one is, they are computed anew.
    """
    return cm.Alignment({"left": [read(network, 0), cm.Feature(weights(network))], "right": read(network, 1)})


def multiplied(network: cm.Network) -> cm.Alignment:
    """That the left token's vector is multiplied by weights that the right input alone decides."""
    return cm.Alignment({"left": read(network, 0), "right": cm.Feature(weights(network))})


def read(network: cm.Network, position: int) -> cm.Feature:
    """A token's vector as the attention reads it; the residual stream that goes past the attention keeps its own."""
    return cm.Feature(network.site("blocks.0.attn", input=True, position=position))


@cm.claim
def embeddings_added(folder: Path, n: int = 10_000) -> cm.Claim:
    """The claim that the attention only adds: its weights may be another input's. It holds of the pizza, not of the clock."""
    network = load(folder)
    return cm.Claim(separately(), network, alignment=added(network), n=n)


@cm.claim
def each_input_separately(folder: Path, dims: int = 8, n: int = 2000) -> cm.Claim:
    """The claim that the attention's output holds the inputs in disjoint subspaces. It is refuted of both networks."""
    network = load(folder)
    search = cm.Search(["left", "right"], [places(network)["attention output"]], method(dims), n=2048)
    return cm.Claim(separately(), network, search=search, n=n)


@cm.claim
def sum_of_both(folder: Path, dims: int = 16, n: int = 10_000) -> cm.Claim:
    """The claim that `dims` dimensions of the attention's output hold the sum. It holds of both networks."""
    network = load(folder)
    search = cm.Search(["sum"], [places(network)["attention output"]], method(dims), n=4096)
    return cm.Claim(together(), network, search=search, n=n)


def method(dims: int | tuple[int, ...], *, steps: int = 150) -> cm.DAS:
    return cm.DAS(dims=dims, steps=steps, restarts=1)


# What is measured, and how it is told.


def study(network: cm.Network, *, n: int = 2048, steps: int = 150) -> pd.DataFrame:
    """One row a place and set of interchanged variables: IIA on fresh pairs, and its bounds.

    Bases and sources are independent and uniform, so that the base left alone is right by chance (`noop`).
    """
    rows = []
    for place, algorithm, alignment in alignments(network, n=n, steps=steps):
        names = list(alignment)
        dims = alignment.parts(names[0])[0].dims
        for chosen in [[v] for v in names] + [names] * (len(names) > 1):
            pairs = cm.pairs(algorithm, chosen, n, design="uniform", seed=FRESH)
            found = cm.interchange_accuracy(algorithm, network, alignment, pairs)
            lower, upper = found.interval
            row = {"place": place, "variables": "+".join(chosen), "dims": len(dims) if dims else None}
            rows.append(row | {"iia": found.rate, "lower": lower, "upper": upper, "noop": found.noop.rate})
    return pd.DataFrame(rows)


def alignments(network: cm.Network, *, n: int, steps: int) -> Iterator[tuple[str, cm.CausalModel, cm.Alignment]]:
    """The alignments to measure: at each place the smallest of the best that searches find, and the two that are given."""
    for place, sites in places(network).items():
        for algorithm, variables in ((separately(), ["left", "right"]), (together(), ["sum"])):
            tried = cm.search(algorithm, network, variables=variables, sites=[sites], method=method(DIMS, steps=steps), n=n)
            yield place, algorithm, tried.smallest()
    yield "vectors added", separately(), added(network)
    yield "vector times weights", separately(), multiplied(network)


def table(name: str, rows: pd.DataFrame) -> str:
    """One line a place: for both hypotheses the dims of the alignment, and its IIA."""
    lines = [f"{name:<20}   dims         left        right         both   dims          sum"]
    for place, here in rows.groupby("place", sort=False):
        told = here.set_index("variables").to_dict("index")
        one, other = size(told["left"]), size(told.get("sum"))
        apart = "".join(cell(told[v]) for v in ("left", "right", "left+right"))
        lines.append(f"{place:<20}{one}{apart}{other}{cell(told.get('sum'))}".rstrip())
    return "\n".join(lines)


def size(row: dict[str, Any] | None) -> str:
    return f"{'' if row is None or pd.isna(row['dims']) else int(row['dims']):>7}"


def cell(row: dict[str, Any] | None) -> str:
    """IIA in percent and its bounds, rounded outwards."""
    told = row and f"{100 * row['iia']:.0f} [{floor(100 * row['lower'])},{ceil(100 * row['upper'])}]"
    return f"{told or '':>13}"


if __name__ == "__main__":
    sys.exit(main())
