"""A small transformer trained on induction: its answer is the token that followed the last one when that came before."""

from importlib.resources import files

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from commute.causal.batches import Batch, Column
from commute.errors import NetworkError, check, not_counts
from commute.models.network import Network
from commute.runs.seeds import stream

TOKENS = 24  # in the vocabulary of the network that ships
DISTINCT = 8  # tokens in the first half of a sequence; the second half has the same ones in another order
POSITIONS = tuple(f"t{i}" for i in range(2 * DISTINCT))  # the inputs
WIDTH = 64
HEADS = 4


class Attention(nn.Module):
    """Causal self-attention over vectors [batch, position, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.hook_pattern = nn.Identity()  # where what a head attends to can be seen and patched

    def forward(self, x: Tensor) -> Tensor:
        """What each position takes from itself and those before it, [batch, position, width]."""
        q, k, v = (p(x).unflatten(-1, (self.num_heads, -1)) for p in (self.q_proj, self.k_proj, self.v_proj))
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / q.shape[-1] ** 0.5
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        pattern = self.hook_pattern(scores.masked_fill(later, -torch.inf).softmax(-1))
        return torch.as_tensor(self.o_proj(torch.einsum("bhqk,bkhe->bqhe", pattern, v).flatten(2)))


class Layer(nn.Module):
    """Attention, added to the residual stream [batch, position, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream after the layer."""
        return torch.as_tensor(x + self.attention(x))


class InductionNetwork(nn.Module):
    """Tokens [batch, position] of int64 through two layers of attention alone to the next token's logits at each position.

    It has neither norms nor hidden layers, so that all that a head does is a product of its weights.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(tokens, WIDTH), nn.Embedding(len(POSITIONS), WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.unembed = nn.Linear(WIDTH, tokens, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, [batch, position, tokens]."""
        x = self.embed(tokens) + self.place.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return torch.as_tensor(self.unembed(x))


def induction() -> Network:
    """A trained network: inputs t0 … t15, each a token 0 … 23, output the token that followed the last one when it came before.

    It is trained on sequences as `induction_sequences` draws them, in which that token is decided.
    """
    with torch.device("meta"):  # draws no weights, which would change torch's random state
        module = InductionNetwork(TOKENS)
    weights = files("commute.models.zoo").joinpath(f"induction_{TOKENS}.safetensors").read_bytes()
    module.to_empty(device="cpu").load_state_dict(load(weights))
    return Network(module.eval(), encode=encode, decode=decode, name="induction")


def induction_sequences(n: int, *, seed: int) -> Batch:
    """Inputs of the network: eight tokens drawn without replacement, and the same ones in another order.

    Raises:
        NetworkError: unless `n` is a whole number of at least 1.
    """
    check(not_counts(n=n), NetworkError, "induction_sequences")
    drawn = halves(n, TOKENS, stream(seed, "zoo", "sequences"))
    return dict(zip(POSITIONS, drawn.T, strict=True))


def induction_answers(inputs: Batch) -> Column:
    """The right answers: for each sequence the token after the last one's first occurrence, [batch].

    Raises:
        NetworkError: when the last token of a sequence did not come before, so that no answer is right.
    """
    tokens = np.stack([inputs[v] for v in POSITIONS], axis=1)
    there = tokens[:, :-1] == tokens[:, -1:]
    absent = np.flatnonzero(~there.any(1))
    if len(absent):
        raise NetworkError(
            f"in {len(absent)} of {len(tokens)} sequences the last token did not come before, so nothing says what follows; the "
            f"first is row {absent[0]}, which ends with {tokens[absent[0], -1]}; give sequences as of induction_sequences"
        )
    found: Column = tokens[np.arange(len(tokens)), there.argmax(1) + 1]
    return found


def halves(n: int, tokens: int, generator: np.random.Generator) -> Column:
    """Sequences of different tokens, and the same ones in another order, [n, position]."""
    first = generator.permuted(np.tile(np.arange(tokens), (n, 1)), axis=1)[:, :DISTINCT]
    return np.concatenate([first, generator.permuted(first, axis=1)], axis=1)


def following(tokens: Column) -> Column:
    """What followed the first occurrence of each token in the second half of sequences [batch, position], [batch, half]."""
    first = (tokens[:, None, :DISTINCT] == tokens[:, DISTINCT:, None]).argmax(-1)
    found: Column = np.take_along_axis(tokens, first + 1, axis=1)
    return found


def encode(inputs: Batch) -> Tensor:
    """Tokens side by side, [batch, position]."""
    return torch.from_numpy(np.stack([inputs[v] for v in POSITIONS], axis=1)).long()


def decode(logits: Tensor) -> Tensor:
    """The likeliest token after the last one, [batch]."""
    return logits[:, -1].argmax(-1)
