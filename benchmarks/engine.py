"""Interchanges against pyvene 0.1.8, both sides in one run and with equal results: `python -m benchmarks.engine [NAME …]`."""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import commute as cm
from benchmarks import peers
from benchmarks.bars import Figure, at_least, fastest, report
from examples import ioi

PAIRS = 64
SAME = 1e-4
REPEATS = 3
Logits = Mapping[tuple[int, int], Tensor]


def main() -> int:
    """Time each workload that is named, or all; the language model is left out where it is not installed."""
    warnings.simplefilter("ignore")
    workloads: dict[str, Callable[[], list[Figure]]] = {"last": _last, "every": _every, "smollm": _smollm, "mlp": _mlp}
    figures = []
    for name in sys.argv[1:] or workloads:
        try:
            figures += workloads[name]()
        except ModuleNotFoundError as error:
            print(f"     {name}: {error}; not measured")
    return report(figures)


def _last() -> list[Figure]:
    tokens = torch.randint(1000, (2 * PAIRS, 16), generator=torch.Generator().manual_seed(0))
    return _sweep("GPT-2 shape, last token", _gpt2(), tokens, "transformer.h.{}", [15], bar=8)


def _every() -> list[Figure]:
    tokens = torch.randint(1000, (2 * PAIRS, 16), generator=torch.Generator().manual_seed(0))
    return _sweep("GPT-2 shape, every token", _gpt2(), tokens, "transformer.h.{}", range(16), bar=5)


def _smollm() -> list[Figure]:
    model, tokenizer = ioi.load()
    names = [
        n for n in ("Mary", "John", "Anna", "Tom", "Sarah", "Paul", "Lisa", "Mark") if len(tokenizer(" " + n)["input_ids"]) == 1
    ]
    draws = np.random.default_rng(0)
    prompts = []
    for _ in range(2 * PAIRS):
        a, b = draws.choice(names, 2, replace=False)
        prompts.append(f"Then, {a} and {b} went to the store. {b} gave a book to")
    tokens = torch.tensor(tokenizer(prompts)["input_ids"])
    return _sweep("SmolLM2-135M, last token", model, tokens, "model.layers.{}", [tokens.shape[1] - 1], bar=15, repeats=2)


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=12, n_embd=256, n_head=8, vocab_size=1000, n_positions=16, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config).eval()


def _sweep(
    what: str, model: Any, tokens: Tensor, path: str, positions: Sequence[int], *, bar: float, repeats: int = REPEATS
) -> list[Figure]:
    """The residual stream of every layer at some positions: `Network.sweep`, pyvene as it is usually called, and at its best."""

    def decode(output: Any) -> dict[str, Tensor]:
        logits = output.logits[:, -1]
        return {"answer": logits.argmax(-1), **{f"logit {i}": logits[:, i] for i in range(8)}}

    network = cm.Network(
        model,
        encode=lambda batch: {"input_ids": tokens[torch.from_numpy(batch["row"])], "use_cache": False, "logits_to_keep": 1},
        decode=decode,
    )
    layers = range(model.config.num_hidden_layers)
    sites = {(layer, p): network.site(path.format(layer), position=p) for layer in layers for p in positions}
    base, source = {"row": np.arange(PAIRS)}, {"row": np.arange(PAIRS, 2 * PAIRS)}
    ours, swept = fastest(lambda: network.sweep(base, source, list(sites.values())), repeats)
    usual, theirs = fastest(lambda: peers.usual_sweep(model, tokens[:PAIRS], tokens[PAIRS:], positions), repeats)
    best, also = fastest(lambda: peers.residual_sweep(model, tokens[:PAIRS], tokens[PAIRS:], positions), repeats)
    for key, site in sites.items():
        mine = np.stack([swept.answers[site][f"logit {i}"] for i in range(8)], axis=1)
        for other in (theirs[key], also[key]):
            if not np.allclose(mine, other[:, :8].numpy(), atol=SAME):
                sys.exit(f"{what}: layer and position {key} differ")
    print(f"     {what}: {ours:.2f} s; pyvene {usual:.2f} s, with the sources collected once {best:.2f} s; {swept.cost}")
    return [
        at_least(f"{what}, against pyvene", usual / ours, bar, "times as fast"),
        Figure(f"{what}, module-FLOPs", swept.cost.ratio, 1.25, "times the fewest"),
    ]


def _mlp(pairs: int = 1_000_000) -> list[Figure]:
    """The whole of a hidden layer, in the network of the quickstart."""
    network = cm.zoo.hierarchical_equality()
    drawn = cm.pairs(cm.library.hierarchical_equality(), ["left"], pairs, design="uniform")
    site = network.site("relu2")
    ours, answered = fastest(lambda: network.interchange(drawn.base, {cm.Feature(site): drawn.sources["left"]}), REPEATS)
    base, source = network.encode(drawn.base), network.encode(drawn.sources["left"])
    best, output = fastest(lambda: peers.full_site(network.module, base, source, "relu2"), REPEATS)
    net = network.module
    model = peers.as_pyvene([net.linear1, net.linear2, net.linear3], net.head)
    with torch.no_grad():
        embedded = [net.embed(x).flatten(1)[:, None] for x in (base, source)]
    usual, also = fastest(lambda: peers.tutorial_full_site(model, *embedded, layer=1), REPEATS)
    if not all((np.asarray(network.decode(x)) == answered).all() for x in (output, also)):
        sys.exit("the answers of the MLP differ")
    print(f"     MLP, {pairs:,} pairs: {ours:.3f} s; pyvene {usual:.2f} s, by functions on tensors {best:.2f} s")
    return [at_least("MLP, a million pairs, against pyvene", usual / ours, 10, "times as fast")]


if __name__ == "__main__":
    sys.exit(main())
