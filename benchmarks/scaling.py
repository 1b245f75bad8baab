"""How the cost of a sweep grows with layers, positions, pairs and sites: `python -m benchmarks.scaling` draws scaling.svg.

The network has the shape of GPT-2 with width 256; the residual stream is patched. Beside the seconds stand the module-FLOPs that
were spent, in those of a pass in full over one prompt: one site after the other takes two a pair and site.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import commute as cm

TOKENS, WIDTH, REPEATS = 16, 256, 3


@dataclass(frozen=True)
class Work:
    """One sweep: at the last tokens, at each of some positions in each of some layers."""

    layers: int = 12
    positions: int = 1
    pairs: int = 64
    sites: int | None = None  # of the layers, evenly spread; all of them by default


def main() -> None:
    """Measure each series, print it and draw them all."""
    series: dict[str, list[tuple[int, Work]]] = {
        "layers": [(n, Work(layers=n)) for n in (2, 4, 8, 12, 16, 24)],
        "positions": [(n, Work(positions=n)) for n in (1, 2, 4, 8, 16)],
        "pairs": [(n, Work(pairs=n)) for n in (8, 16, 32, 64, 128, 256)],
        "sites (of 12 layers)": [(n, replace(Work(), sites=n)) for n in (1, 2, 4, 8, 12)],
    }
    measured = {what: [(n, *_measured(work)) for n, work in works] for what, works in series.items()}
    for what, points in measured.items():
        for n, seconds, passes, in_full in points:
            print(f"{what:>22} {n:4d}: {seconds:7.3f} s, {passes:8.1f} passes in full; pass by pass {in_full:8.0f}")
    _draw(measured, Path(__file__).with_name("scaling.svg"))


def _measured(work: Work) -> tuple[float, float, int]:
    """Seconds, passes in full that cost as much, and passes that one site after the other would take."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        special = {"bos_token_id": 0, "eos_token_id": 0}
        config = GPT2Config(n_layer=work.layers, n_embd=WIDTH, n_head=8, vocab_size=1000, n_positions=TOKENS, **special)
        model = GPT2LMHeadModel(config).eval()
    tokens = torch.randint(1000, (2 * work.pairs, TOKENS), generator=torch.Generator().manual_seed(0))
    network = cm.Network(
        model,
        encode=lambda batch: {"input_ids": tokens[torch.from_numpy(batch["row"])], "use_cache": False, "logits_to_keep": 1},
        decode=lambda output: output.logits[:, -1].argmax(-1),
    )
    layers = np.unique(np.linspace(0, work.layers - 1, work.sites or work.layers).astype(int))
    places = [(i, TOKENS - 1 - p) for i in layers for p in range(work.positions)]
    sites = [network.site(f"transformer.h.{i}", position=p) for i, p in places]
    base, source = {"row": np.arange(work.pairs)}, {"row": np.arange(work.pairs, 2 * work.pairs)}
    network.sweep(base, source, sites)  # traces and compares, once for each shape of call
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        swept = network.sweep(base, source, sites)
        taken.append(time.perf_counter() - start)
    whole = next(iter(network.traces.values())).whole.flops
    return min(taken), swept.cost.spent / whole, 2 * work.pairs * len(sites)


def _draw(measured: dict[str, Sequence[tuple[int, float, float, int]]], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "commute"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(measured), figsize=(13, 6), sharex="col", layout="constrained")
    for (above, below), (what, points) in zip(axes.T, measured.items(), strict=True):
        n, seconds, passes, in_full = (np.array(x) for x in zip(*points, strict=True))
        above.plot(n, seconds, "o-", color="tab:blue")
        below.plot(n, passes, "o-", color="tab:blue", label="sweep")
        below.plot(n, in_full, "--", color="tab:gray", label="one site after the other")
        below.set_xlabel(what)
        _from_zero(above), _from_zero(below)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("module-FLOPs, in passes in full")
    axes[1, 0].legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})


def _from_zero(axis: Any) -> None:
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
