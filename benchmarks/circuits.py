"""Circuits: what patching and attribution cost, both sides in one run and with equal results.

`python -m benchmarks.circuits [PART …]`
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import commute as cm
from benchmarks.bars import Figure, at_least, fastest, report
from benchmarks.circuit_attribution import attribution
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import residual_edges
from commute.models.circuits.patching import edge_effects
from commute.models.circuits.runs import Runs

PAIRS = 64
SAME = 1e-5
REPEATS = 3
WORDS = 1000
LENGTH = 16
LAYERS, HEADS = 4, 4


def main() -> int:
    """Measure each part that is named, or all."""
    warnings.simplefilter("ignore")
    parts: dict[str, Callable[[], list[Figure]]] = {"patching": _patching, "attribution": attribution}
    return report([figure for name in sys.argv[1:] or parts for figure in parts[name]()])


def _patching() -> list[Figure]:
    """Every edge by itself: pairs of random tokens, and pairs that begin alike, as prompts that differ in one name do."""
    return [*_edges(64, shared=0), *_edges(64, shared=8), *_edges(128, shared=0)]


def _edges(width: int, *, shared: int) -> list[Figure]:
    """All edges at once, against one run of the circuit of all others an edge, and against one hook an edge with all else kept.

    The second is the least that a run an edge can do: a plain pass in which only what the edge's reader makes of it is computed
    again. It is timed, as the first, on every eighth edge.
    """
    what = f"width {width}, {LENGTH} tokens" + (f", {shared} of them shared" if shared else "")
    network = _gpt2(LAYERS, HEADS, width, _tokens(shared))
    base, other = {"row": np.arange(PAIRS)}, {"row": np.arange(PAIRS, 2 * PAIRS)}
    runs = Runs.of(cm.computation_graph(network, base), base, other)
    behaviour, edges = Behaviour.of(runs), residual_edges(runs.graph)
    some = edges[::8]
    ours, effects = fastest(lambda: edge_effects(runs, behaviour), REPEATS)
    hooked, scores = fastest(lambda: _by_hooks(runs, some), REPEATS)
    circuits, also = fastest(lambda: torch.cat([runs.scores([[e for e in edges if e != x]]) for x in some]), 1)
    for found in (scores, also):
        gap = float((behaviour(found) - behaviour(behaviour.whole) - effects[::8]).abs().max())
        if gap > SAME:
            sys.exit(f"{what}: effects differ by {gap}")
    hooked, circuits = (x * len(edges) / len(some) for x in (hooked, circuits))
    print(f"     {what}: {len(edges)} edges {ours:.2f} s; a hook an edge {hooked:.2f} s, a circuit an edge {circuits:.2f} s")
    return [
        at_least(f"all edges, {what}, against a run of the circuit an edge", circuits / ours, 10, "times as fast"),
        at_least(f"all edges, {what}, against a hook an edge, all else kept", hooked / ours, 10, "times as fast"),
    ]


def _by_hooks(runs: Runs, edges: Sequence[tuple[str, str]]) -> Tensor:
    """The scores without each edge, by one run of the network an edge, with a hook where the edge ends."""
    stream, module = runs.stream, runs.stream.network.module
    with torch.inference_mode():
        changes = runs.instead - stream.written(runs.batch)
        reads = {node: (read, i) for read in stream.reads for i, node in enumerate(read.nodes)}
        place = {node: i for i, node in enumerate(stream.writers)}
        return torch.stack([_hooked(runs, module, *reads[reader], changes[place[writer]]) for writer, reader in edges])


def _hooked(runs: Runs, module: Any, read: Any, i: int, change: Tensor) -> Tensor:
    """The scores with one thing that is read changed."""
    network, seen = runs.stream.network, {}

    def enter(x: Tensor) -> Tensor | None:
        seen["stream"] = x + change
        return seen["stream"] if read.tap is None else None

    def leave(value: Tensor) -> Tensor:
        part = module.get_submodule(read.norm).forward(seen["stream"]) @ read.weight[i] + read.bias[i]
        value = value.clone()
        value[..., read.columns[i]] = part
        return value

    target = module.get_submodule(read.entry.path)
    if read.entry.input:
        handles = [target.register_forward_pre_hook(lambda _, given: (enter(given[0]),) if read.tap is None else enter(given[0]))]
    else:
        handles = [target.register_forward_hook(lambda _, __, value: enter(value))]
    if read.tap is not None:
        handles.append(module.get_submodule(read.tap.path).register_forward_hook(lambda _, __, value: leave(value)))
    output = network.call(runs.batch)
    for handle in handles:
        handle.remove()
    return runs.readout.scores(output, PAIRS)


def _tokens(shared: int) -> Tensor:
    """Bases and then others, which begin with the same tokens."""
    tokens = torch.randint(WORDS, (2 * PAIRS, LENGTH), generator=torch.Generator().manual_seed(0))
    tokens[PAIRS:, :shared] = tokens[:PAIRS, :shared]
    return tokens


def _gpt2(layers: int, heads: int, width: int, tokens: Tensor) -> cm.Network:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_layer": layers, "n_head": heads, "n_embd": width, "n_positions": LENGTH, "vocab_size": WORDS}
    return cm.Network(
        GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval(),
        encode=lambda batch: {"input_ids": tokens[torch.from_numpy(batch["row"])], "use_cache": False, "logits_to_keep": 1},
        decode=lambda output: output.logits[:, -1].argmax(-1),
    )


if __name__ == "__main__":
    sys.exit(main())
