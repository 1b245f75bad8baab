"""The cost of searching circuits, in passes of the network, both in one run: the part `attribution` of `benchmarks.circuits`."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import commute as cm
from benchmarks.bars import Figure
from commute.alignments.circuits.methods import EdgeAttribution
from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.graph import computation_graph
from commute.models.circuits.runs import Runs

PAIRS, TOKENS, STEPS, REPEATS = 64, 16, 5, 3


def attribution() -> list[Figure]:
    """EAP-IG of five steps on a network of the shape of GPT-2, in forward-backward passes of it.

    A pass gives gradients with respect to what the first layer is given, and none to weights. Both sides are timed in turn, from
    tokens on, in blocks of as many prompts as suit them; the least of the times counts.
    """
    network, inputs, others = _gpt2()
    graph = computation_graph(network, inputs)
    answers = torch.arange(PAIRS) % 2
    behaviour = Behaviour("logit difference", graph, inputs, torch.zeros(PAIRS, 2), answers, 1 - answers, torch.arange(2))
    method = EdgeAttribution(steps=STEPS)
    passes, ours = _least(
        [lambda: _passes(network, inputs, answers), lambda: method.scores(Runs.of(graph, inputs, others), behaviour)]
    )
    print(f"     one forward-backward pass of {PAIRS} prompts: {passes:.2f} s; the definition needs {STEPS} and 2 forward passes")
    what = f"EAP-IG ({STEPS} steps), GPT-2 shape, {PAIRS} pairs, {graph.number_of_edges():,} edges"
    return [Figure(what, ours / passes, 8, "forward-backward passes")]


def _least(sides: Sequence[Callable[[], object]]) -> list[float]:
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(REPEATS):
        for side, taken in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def _gpt2() -> tuple[cm.Network, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A network with random weights, prompts, and others that differ in two tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config()).eval()
    tokens = np.random.default_rng(0).integers(50_000, size=(PAIRS, TOKENS))
    others = tokens.copy()
    others[:, [3, 9]] = others[::-1, [3, 9]]
    network = cm.Network.from_transformers(
        model, None, prompts=lambda x: [x[f"t{i}"] for i in range(TOKENS)], answers={"yes": [11], "no": [12]}
    )
    first, second = ({f"t{i}": x[:, i] for i in range(TOKENS)} for x in (tokens, others))
    return network, first, second


def _passes(network: cm.Network, inputs: dict[str, np.ndarray], answers: Tensor) -> None:
    """One forward-backward pass of the model over all prompts, as it is called in the search."""
    model = network.module.requires_grad_(requires_grad=False)
    block = 16
    for start in range(0, PAIRS, block):
        rows = slice(start, start + block)
        call = network.encoded({k: x[rows] for k, x in inputs.items()})
        ids = torch.as_tensor(np.stack([x[rows] for x in inputs.values()], 1))
        embedded = model.get_input_embeddings()(ids).requires_grad_()
        kwargs = {k: x for k, x in call.kwargs.items() if k != "input_ids"}
        logits = model(**kwargs, inputs_embeds=embedded).logits[:, -1, [11, 12]]
        chosen = logits.gather(1, answers[rows, None]) - logits.gather(1, 1 - answers[rows, None])
        chosen.sum().backward()
