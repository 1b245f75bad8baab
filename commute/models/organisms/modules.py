"""Modules to train: small networks that take an algorithm's inputs and give its answers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, scaled_dot_product_attention

from commute.causal.batches import Batch, Column
from commute.causal.domains import Domain, Finite
from commute.causal.model import CausalModel
from commute.errors import NetworkError, check, not_counts
from commute.models.network import Network
from commute.runs.seeds import stream, torch_seed


class Perceptron(nn.Module):
    """Codes of finite inputs, one-hot and side by side [batch, values], through hidden ReLU layers to logits [batch, answers]."""

    def __init__(self, values: int, width: int, depth: int, answers: int) -> None:
        super().__init__()
        widths = [values, *[width] * depth]
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(a, width), nn.ReLU()) for a in widths[:-1]))
        self.head = nn.Linear(width, answers)

    def forward(self, values: Tensor) -> Tensor:
        """The logits."""
        return torch.as_tensor(self.head(self.blocks(values)))


class Attention(nn.Module):
    """Causal self-attention over vectors [batch, position, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """What each position takes from itself and those before it, [batch, position, width]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [batch, head, position, width / heads]
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.as_tensor(self.out(mixed.transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """Attention and a hidden layer, each added to the residual stream [batch, position, width] from a layer norm of it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream after the block."""
        x = x + self.attention(self.norm1(x))
        return torch.as_tensor(x + self.mlp(self.norm2(x)))


class Transformer(nn.Module):
    """Tokens [batch, position] of int64 through causal blocks to logits [batch, answers], read at the last position."""

    def __init__(self, tokens: int, positions: int, width: int, layers: int, heads: int, answers: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(tokens, width), nn.Embedding(positions, width)
        for table in (self.embed, self.place):
            nn.init.normal_(table.weight, std=width**-0.5)  # small, so that what blocks add shows beside it
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, answers)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits."""
        x = self.blocks(self.embed(tokens) + self.place.weight)
        return torch.as_tensor(self.head(self.norm(x[:, -1])))


def mlp(model: CausalModel, *, width: int = 32, depth: int = 3, seed: int = 0) -> Network:
    """An untrained multilayer perceptron for an algorithm, to be given to `train`.

    Its sites are the hidden layers `blocks.0`, `blocks.1`, …, [batch, width] each, after their ReLU.

    Args:
        model: the algorithm, with finite inputs and one finite output.
        width: neurons of each hidden layer.
        depth: how many hidden layers.
        seed: of its weights.

    Raises:
        NetworkError: for an algorithm that it cannot answer for, or sizes that are no whole numbers of at least 1.
    """
    inputs, answer = _finite(model, not_counts(width=width, depth=depth), "an MLP")
    with _seeded(seed, "mlp"):
        module = Perceptron(sum(map(len, inputs.values())), width, depth, len(answer))
    return Network(module, encode=partial(_one_hot, inputs), decode=partial(_labels, answer), name=f"MLP for {model.name}")


def transformer(model: CausalModel, *, width: int = 32, layers: int = 2, heads: int = 4, seed: int = 0) -> Network:
    """An untrained decoder-only transformer for an algorithm, to be given to `train`.

    Each input is a token, in the algorithm's order, and one more at the end asks for the answer. The sites `blocks.0`,
    `blocks.1`, … are the residual stream after each block, [batch, position, width]; choose positions in it, such as
    `position=-1`, the last.

    Args:
        model: the algorithm, with finite inputs and one finite output.
        width: of the residual stream.
        layers: how many blocks.
        heads: of each block; they divide the width.
        seed: of its weights.

    Raises:
        NetworkError: for an algorithm that it cannot answer for, or sizes that do not fit.
    """
    problems = not_counts(width=width, layers=layers, heads=heads)
    if not problems and width % heads:
        problems.append(f"heads must divide the width; given width={width}, heads={heads}")
    inputs, answer = _finite(model, problems, "a transformer")
    with _seeded(seed, "transformer"):
        module = Transformer(sum(map(len, inputs.values())) + 1, len(inputs) + 1, width, layers, heads, len(answer))
    named = f"transformer for {model.name}"
    return Network(module, encode=partial(_tokens, inputs), decode=partial(_labels, answer), name=named)


def _finite(model: CausalModel, problems: Sequence[str], what: str) -> tuple[dict[str, Finite], Finite]:
    """The domains of an algorithm's inputs and of its answer."""
    problems = list(problems)
    domains: dict[str, Domain | None] = {v: model.known_domain(v) for v in (*model.inputs, *model.outputs)}
    found = {v: d for v, d in domains.items() if isinstance(d, Finite)}
    problems += [f"{v!r} must have a Finite domain; it is {d or 'not known'}" for v, d in domains.items() if v not in found]
    if len(model.outputs) != 1:
        problems.append(
            f"there must be one output; {model.name!r} has {', '.join(model.outputs)}; merge them with merge_variables, or "
            "choose one with outputs="
        )
    check(problems, NetworkError, f"{what} for {model.name!r}")
    return {v: found[v] for v in model.inputs}, found[model.outputs[0]]


@contextmanager
def _seeded(seed: int, kind: str) -> Iterator[None]:
    """Weights made meanwhile are those of the seed; torch's random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(stream(seed, "organisms", kind)))
        yield


def _codes(inputs: Mapping[str, Finite], batch: Batch) -> list[Tensor]:
    return [torch.from_numpy(domain.encode(batch[v])).long() for v, domain in inputs.items()]


def _one_hot(inputs: Mapping[str, Finite], batch: Batch) -> Tensor:
    """The codes of all inputs, one-hot and side by side, [batch, values]."""
    codes = zip(inputs.values(), _codes(inputs, batch), strict=True)
    return torch.cat([one_hot(x, len(domain)) for domain, x in codes], 1).float()


def _tokens(inputs: Mapping[str, Finite], batch: Batch) -> Tensor:
    """A token for each value of each input, and at the end the one that asks, [batch, inputs + 1]."""
    *firsts, last = accumulate(map(len, inputs.values()), initial=0)
    tokens = [first + x for first, x in zip(firsts, _codes(inputs, batch), strict=True)]
    return torch.stack([*tokens, torch.full_like(tokens[0], last)], 1)


def _labels(answer: Finite, logits: Tensor) -> Column:
    """The labels with the highest logits, [batch]."""
    return answer.decode(logits.argmax(-1).cpu().numpy())
