"""Two transformers add modulo 59 by different algorithms: where is each input held separately, and where only their sum?

    python examples/clock_and_pizza.py [--folder ../shared/models] [--csv runs/clock_and_pizza.csv]
    commute run examples/clock_and_pizza.py::embeddings_added -P folder=../shared/models/pizza_modelA_pizza

@@DOC@@
"""

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from math import ceil, floor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import commute as cm

MODULUS = 59
NETWORKS = {"pizza": "pizza_modelA_pizza", "clock": "pizza_modelB_clock"}
FOLDER = Path(__file__).parents[2] / "shared" / "models"
DIMS = (4, 8, 12, 16)  # that a variable may take at a site
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
    print(table(found))
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

    The weights go with the left input, so they are another input's than the right one is of when either is interchanged.
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
    """One row a hypothesis, place and set of interchanged variables: IIA on fresh pairs, and its bounds.

    Bases and sources are independent and uniform, so the base left alone is right by chance (`noop`).
    """
    rows = []
    for hypothesis, place, algorithm, alignment in alignments(network, n=n, steps=steps):
        names = list(alignment)
        for chosen in [[v] for v in names] + [names] * (len(names) > 1):
            pairs = cm.pairs(algorithm, chosen, n, design="uniform", seed=FRESH)
            found = cm.interchange_accuracy(algorithm, network, alignment, pairs)
            lower, upper = found.interval
            dims = alignment.parts(names[0])[0].dims
            row = {"hypothesis": hypothesis, "place": place, "dims": dims and len(dims), "variables": "+".join(chosen)}
            rows.append(row | {"iia": found.rate, "lower": lower, "upper": upper, "noop": found.noop.rate})
    return pd.DataFrame(rows)


def alignments(
    network: cm.Network, *, n: int, steps: int
) -> Iterator[tuple[str, str, cm.CausalModel, cm.Alignment]]:
    """For each hypothesis and place the alignment to measure: the smallest of the best that a search finds, or a given one."""
    for hypothesis, algorithm, variables in (
        ("separately", separately(), ["left", "right"]),
        ("sum", together(), ["sum"]),
    ):
        for place, sites in places(network).items():
            tried = cm.search(algorithm, network, variables=variables, sites=[sites], method=method(DIMS, steps=steps), n=n)
            yield hypothesis, place, algorithm, tried.smallest()
    yield "added", "", separately(), added(network)
    yield "multiplied", "", separately(), multiplied(network)


TITLES = {
    "separately": "Each input separately, in disjoint subspaces of",
    "sum": "Their sum, in a subspace of",
    "added": "Vectors only added: left is the first token's vector and all weights, right the second one's vector",
    "multiplied": "Vector times weight: left is the first token's vector, right all attention weights",
}


def table(found: dict[str, pd.DataFrame]) -> str:
    """For each hypothesis a block with a line a place, and in it the networks side by side."""
    lines = ["IIA in percent [99% bounds] on fresh pairs; dims a variable, at each site of the place."]
    first, *_ = found.values()
    for hypothesis, title in TITLES.items():
        here = {name: rows[rows["hypothesis"] == hypothesis] for name, rows in found.items()}
        variables = list(dict.fromkeys(first[first["hypothesis"] == hypothesis]["variables"]))
        heads = [f"{name:>5}" + "".join(f"{v.replace('left+right', 'both'):>12}" for v in variables) for name in found]
        lines += ["", title, " " * 18 + " ".join(heads)]
        for place in dict.fromkeys(first[first["hypothesis"] == hypothesis]["place"]):
            lines.append(f"{place:<18}" + " ".join(cells(rows[rows["place"] == place]) for rows in here.values()))
    return "\n".join(lines)


def cells(rows: pd.DataFrame) -> str:
    """The dims of an alignment and its IIA for each set of variables, bounds rounded outwards."""
    dims = rows["dims"].iloc[0]
    told = [f"{100 * r.iia:.0f} [{floor(100 * r.lower)},{ceil(100 * r.upper)}]" for r in rows.itertuples()]
    return f"{'' if pd.isna(dims) else int(dims):>5}" + "".join(f"{x:>12}" for x in told)


if __name__ == "__main__":
    sys.exit(main())
