"""Searching for alignments, against pyvene 0.1.8 and against searching one by one: `python -m benchmarks.search [NAME …]`."""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import fmean
from typing import Any

import numpy as np
import pandas  # noqa: F401, ICN001  # which the first search would import; imports are timed on neither side
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import commute as cm
from benchmarks import tutorial
from benchmarks.bars import Figure, at_least, report
from tests import subspaces

NETWORKS = 5
LEARNED = 0.99  # accuracy above which a network counts as trained
PAIRS = 10_000  # to test by, of each set of variables
OBJECTS = 2**16  # that our side draws from, so that nearly every object is met once, as in the tutorial
EQUALITY = cm.DAS(
    dims=tutorial.DIMS,
    restarts=4,
    starts=8,
    steps=700,
    batch=64,
    learning_rate=0.03,
    objective="error",
    patience=20,  # as many checks as there are: it goes on to the end
)
EQUALITY_PAIRS = 8192
LAYERED = cm.DAS(dims=(1, 2, 4, 8), restarts=2, steps=600, batch=128, learning_rate=0.03, objective="error", patience=20)

LAYERS, WIDTH, TOKENS = 12, 32, 8
VALUES = 8  # tokens that an object can be
GRID = cm.DAS(dims=(1, 2, 4, 8), restarts=4, steps=100, batch=32)
GRID_PAIRS = 512
STRIDE = 7  # of the items of the grid that are trained one by one; it has no factor in common with their number

TRIALS = 100

WORKERS = cm.DAS(dims=8, restarts=4, steps=200, batch=64)


def main() -> int:
    """Measure each part that is named, or all."""
    warnings.simplefilter("ignore")
    parts: dict[str, Callable[[], list[Figure]]] = {
        "tutorial": _tutorial,
        "layers": _layers,
        "grid": _grid,
        "workers": _workers,
        "planted": _planted,
    }
    return report([figure for name in sys.argv[1:] or parts for figure in parts[name]()])


# Hierarchical equality as in pyvene's tutorial.


@dataclass(frozen=True, eq=False)
class Encode:
    """Inputs of the network, [batch, 16], from the numbers of objects and whether the second of a pair repeats the first.

    Attributes:
        objects: four numbers each, [objects, 4].
    """

    objects: Tensor

    def __call__(self, batch: Any) -> Tensor:
        """The four objects side by side."""
        b = np.where(batch["equal_left"], batch["a"], batch["b"])
        d = np.where(batch["equal_right"], batch["c"], batch["d"])
        places = np.stack([batch["a"], b, batch["c"], d], axis=1).astype(np.int64)
        return self.objects[torch.from_numpy(places)].flatten(1)


def decode(logits: Tensor) -> Tensor:
    """Whether the pairs agree, [batch] of bool."""
    return logits.argmax(-1).bool()


def equality() -> cm.CausalModel:
    """The tutorial's algorithm, with inputs as its sampler makes them: of random objects hardly two are equal by themselves."""

    def left(a: Any, b: Any, equal_left: Any) -> Any:
        return equal_left | (a == b)

    def right(c: Any, d: Any, equal_right: Any) -> Any:
        return equal_right | (c == d)

    def agree(left: Any, right: Any) -> Any:
        return left == right

    inputs = {**dict.fromkeys("abcd", cm.Finite(range(OBJECTS))), "equal_left": cm.Bool, "equal_right": cm.Bool}
    return cm.CausalModel("hierarchical equality", inputs, [left, right, agree], domains={"left": cm.Bool, "right": cm.Bool})


def _tutorial() -> list[Figure]:
    """Four restarts of ours beside one training of pyvene's on each network, judged by the same interchanges of other objects."""
    algorithm, gains, spreads, ratios = equality(), [], [], []
    for seed in range(NETWORKS):
        module, accuracy = tutorial.network(seed)
        if accuracy <= LEARNED:
            sys.exit(f"network {seed} has learned the task to {accuracy:.4f} only")
        theirs = tutorial.pyvene_das(module, seed)
        objects = tutorial.objects(OBJECTS, torch.Generator().manual_seed(seed))
        network = cm.Network(module, encode=Encode(objects), decode=decode)
        start = time.perf_counter()
        found = cm.search(
            algorithm,
            network,
            variables=["left", "right"],
            sites=[network.site("relu1")],
            method=EQUALITY,
            n=EQUALITY_PAIRS,
            seed=seed,
        )
        seconds = time.perf_counter() - start
        pairs = tutorial.test_pairs(PAIRS, seed=NETWORKS + seed)
        peer, best, *rates = (
            100 * tutorial.iia(module, rotation, pairs)
            for rotation in (theirs.rotation, _rotation(found.best), *(_rotation(c.alignment) for c in found.candidates))
        )
        if abs(100 * tutorial.pyvene_iia(theirs, pairs) - peer) > 0.01:
            sys.exit("pyvene's interchanges with its rotation give another IIA")
        print(
            f"     network {seed}, accuracy {100 * accuracy:.2f}%: IIA {best:.2f}%, restarts from "
            f"{min(rates):.2f}, {seconds:.2f} s; pyvene {peer:.2f}%, {theirs.seconds:.1f} s"
        )
        gains.append(best - peer)
        spreads.append(max(rates) - min(rates))
        ratios.append(theirs.seconds / seconds)
    return [
        at_least(f"tutorial: IIA beyond pyvene's, least of {NETWORKS} networks", min(gains), -0.5, "points"),
        Figure("tutorial: IIA of four restarts, highest less lowest", max(spreads), 1, "points"),
        at_least("tutorial: four restarts against one training in pyvene, least", min(ratios), 10, "times as fast"),
    ]


def _layers() -> list[Figure]:
    """Which layer, how many dims and which hypothesis do best in each network; no bar, since it is about the networks."""
    algorithm = equality()
    for seed in range(NETWORKS):
        module, _ = tutorial.network(seed)
        objects = tutorial.objects(OBJECTS, torch.Generator().manual_seed(seed))
        network = cm.Network(module, encode=Encode(objects), decode=decode)
        told = []
        for variables in (["left", "right"], ["left"], ["right"]):
            found = cm.search(
                algorithm, network, variables=variables, sites=network.sites("relu*"), method=LAYERED, n=EQUALITY_PAIRS, seed=seed
            )
            frame = found.to_frame().groupby(["site", "dims"], as_index=False).worst.max()
            best = frame.loc[frame.groupby("site").worst.idxmax()]
            rows = ", ".join(f"{row.site} {row.worst:.3f} in {row.dims}" for row in best.itertuples())
            told.append(f"{' + '.join(variables)}: {rows}")
        print(f"     network {seed}, IIA of the worst slice, by layer, in the best number of dims: {'; '.join(told)}")
    return []


def _rotation(alignment: cm.Alignment) -> Tensor:
    """The directions of left and of right side by side, [16, 16]."""
    features = [alignment[v] for v in ("left", "right")]
    return torch.cat([f.featurizer.directions[:, list(f.dims)] for f in features], 1)


# Many sites, sizes and starts at once, in a network of GPT-2's shape.


def sizes() -> cm.CausalModel:
    """Which of two numbers are large, as a number from 0 to 3."""

    def left(a: Any) -> Any:
        return a >= VALUES // 2

    def right(b: Any) -> Any:
        return b >= VALUES // 2

    def which(left: Any, right: Any) -> Any:
        return 2 * left + right

    return cm.CausalModel("sizes", dict.fromkeys("ab", cm.Finite(range(VALUES))), [left, right, which])


def prompt(batch: Any) -> dict[str, Any]:
    """Eight tokens, of which the second and fourth are the numbers; the others are always the same."""
    tokens = torch.arange(VALUES, VALUES + TOKENS).repeat(len(batch["a"]), 1)
    tokens[:, 1], tokens[:, 3] = torch.from_numpy(batch["a"]), torch.from_numpy(batch["b"])
    return {"input_ids": tokens, "use_cache": False, "logits_to_keep": 1}


def answer(output: Any) -> Tensor:
    """The likeliest of four tokens."""
    return torch.as_tensor(output.logits[:, -1, :4].argmax(-1))


def language_model(steps: int = 100) -> cm.Network:
    """A network of GPT-2's shape, trained for a short time on all inputs of the task."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=LAYERS, n_embd=WIDTH, n_head=4, vocab_size=VALUES + TOKENS, n_positions=TOKENS, bos_token_id=0, eos_token_id=0
    )
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = GPT2LMHeadModel(config)
    a, b = (x.flatten() for x in np.meshgrid(range(VALUES), range(VALUES)))
    call, expected = prompt({"a": a, "b": b}), torch.from_numpy(sizes().solve({"a": a, "b": b})["which"]).long()
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3, fused=True)
    for _ in range(steps):
        loss = cross_entropy(module(**call).logits[:, -1, :4], expected)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return cm.Network(module.eval(), encode=prompt, decode=answer, name="GPT-2 shape")


def _residual(network: cm.Network) -> list[Any]:
    return [network.site(f"transformer.h.{layer}", position=TOKENS - 1) for layer in range(LAYERS)]


def _grid() -> list[Figure]:
    """One search of 12 sites, 4 sizes and 4 starts against one search for each, of which every seventh is carried out."""
    algorithm, network = sizes(), language_model()
    sites = _residual(network)
    start = time.perf_counter()
    together = _searched(algorithm, network, sites, GRID, 0)
    at_once = time.perf_counter() - start
    items = [(s, d, i) for s in sites for d in GRID.dims for i in range(GRID.restarts)]
    chosen = range(0, len(items), STRIDE)
    start = time.perf_counter()
    alone = [
        _searched(algorithm, network, [items[k][0]], replace(GRID, dims=items[k][1], restarts=1), items[k][2]) for k in chosen
    ]
    one_by_one = (time.perf_counter() - start) * len(items) / len(chosen)
    pairs = [cm.pairs(algorithm, v, 2048, seed=1) for v in (["left"], ["right"], ["left", "right"])]
    ours, theirs = (
        np.array([fmean(cm.interchange_accuracy(algorithm, network, c.alignment, p).rate for p in pairs) for c in candidates])
        for candidates in ([together.candidates[k] for k in chosen], [found.candidates[0] for found in alone])
    )
    print(
        f"     grid: {at_once:.1f} s; {len(chosen)} of {len(items)} one by one take {one_by_one:.0f} s in proportion; mean IIA "
        f"{ours.mean():.3f} and {theirs.mean():.3f}, item by item {abs(ours - theirs).mean():.3f} apart"
    )
    return [
        at_least(
            f"grid: {len(items)} items in one search, against one search each ({len(chosen)} of them timed, and scaled)",
            one_by_one / at_once,
            5,
            "times as fast",
        ),
        Figure("grid: difference of the mean IIA", 100 * abs(ours.mean() - theirs.mean()), 2, "points"),
    ]


def _searched(
    algorithm: cm.CausalModel, network: cm.Network, sites: Sequence[Any], method: cm.DAS, seed: int, pool: Any = None
) -> Any:
    return cm.search(
        algorithm, network, variables=["left", "right"], sites=sites, method=method, n=GRID_PAIRS, seed=seed, executor=pool
    )


def _workers() -> list[Figure]:
    """The same search by one and by two processes of one thread each; a short search before lets them import what they need."""
    algorithm, network = sizes(), language_model()
    sites = _residual(network)
    taken, found = {}, {}
    for n in (1, 2):
        with ProcessPoolExecutor(n, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            _searched(algorithm, network, sites, replace(WORKERS, steps=2), 1, pool)
            start = time.perf_counter()
            found[n] = _searched(algorithm, network, sites, WORKERS, 0, pool)
            taken[n] = time.perf_counter() - start
    one, two = ([_rotation(c.alignment) for c in found[n].candidates] for n in (1, 2))
    if not all(map(torch.equal, one, two)):
        sys.exit("two workers find other alignments than one")
    print(f"     workers: one {taken[1]:.1f} s, two {taken[2]:.1f} s, with equal results; their start is not counted")
    return [at_least("workers: two against one", taken[1] / taken[2], 1.7, "times as fast")]


# Networks with planted subspaces, and networks without.


def _planted() -> list[Figure]:
    """How often each method finds what was planted, and reports what is not there, in seeded trials by two processes."""
    figures = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        for name in subspaces.METHODS:
            start = time.perf_counter()
            found = sum(pool.map(_is_found, [name] * TRIALS, range(TRIALS)))
            wrong = sum(pool.map(_is_reported, [name] * TRIALS, range(TRIALS)))
            print(f"     {name}: {found} found, {wrong} reported that are not there, {time.perf_counter() - start:.0f} s")
            figures.append(at_least(f"planted: {name}: found within 5°, with the right dims, of {TRIALS}", found, 95, "trials"))
            figures.append(Figure(f"planted: {name}: reported where there is nothing, of {TRIALS}", wrong, 1, "trials"))
    return figures


def _is_found(name: str, seed: int) -> bool:
    return max(subspaces.angles(*subspaces.METHODS[name], seed=seed)) < 5


def _is_reported(name: str, seed: int) -> bool:
    return subspaces.reported(*subspaces.METHODS[name], seed=seed)


def _one_thread() -> None:
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
