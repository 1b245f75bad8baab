"""Networks whose circuits are tested: a decoder with hook points, language models, and a second implementation of patching."""

import numpy as np
import torch
from torch import nn

import commute as cm
from tests.models import families

WIDTH, HEADS, PART, HIDDEN, LENGTH, WORDS, LAYERS = 12, 3, 4, 10, 5, 11, 2


def _weight(draws, *shape):
    return nn.Parameter(torch.randn(shape, generator=draws) * 0.5)


class Norm(nn.Module):
    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


class Attention(nn.Module):
    """Heads with weights of their own, as in TransformerLens."""

    def __init__(self, draws):
        super().__init__()
        self.n_heads = HEADS
        for letter in "QKV":
            setattr(self, f"W_{letter}", _weight(draws, HEADS, WIDTH, PART))
            setattr(self, f"b_{letter}", _weight(draws, HEADS, PART))
        self.W_O, self.b_O = _weight(draws, HEADS, PART, WIDTH), _weight(draws, WIDTH)
        self.hook_q, self.hook_k, self.hook_v, self.hook_z = (nn.Identity() for _ in range(4))

    def given(self, letter, x, head):
        return x @ getattr(self, f"W_{letter}")[head] + getattr(self, f"b_{letter}")[head]

    def result(self, q, k, v):
        """What each head gives to the output projection, [batch, position, head, part]."""
        future = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)
        scores = torch.einsum("bqhp,bkhp->bhqk", q, k).masked_fill(future, -torch.inf)
        return torch.einsum("bhqk,bkhp->bqhp", scores.softmax(-1), v)

    def forward(self, x):
        parts = (torch.stack([self.given(c, x, h) for h in range(HEADS)], 2) for c in "QKV")
        q, k, v = (hook(part) for hook, part in zip((self.hook_q, self.hook_k, self.hook_v), parts, strict=True))
        z = self.hook_z(self.result(q, k, v))
        return torch.einsum("bqhp,hpw->bqw", z, self.W_O) + self.b_O


class Mlp(nn.Module):
    def __init__(self, draws):
        super().__init__()
        self.W_in, self.b_in = _weight(draws, WIDTH, HIDDEN), _weight(draws, HIDDEN)
        self.W_out, self.b_out = _weight(draws, HIDDEN, WIDTH), _weight(draws, WIDTH)
        self.hook_pre, self.hook_post = nn.Identity(), nn.Identity()

    def forward(self, x):
        return self.hook_post(torch.relu(self.hook_pre(x @ self.W_in + self.b_in))) @ self.W_out + self.b_out


class Block(nn.Module):
    def __init__(self, draws):
        super().__init__()
        self.ln1, self.ln2, self.attn, self.mlp = Norm(), Norm(), Attention(draws), Mlp(draws)
        self.hook_resid_pre, self.hook_resid_post = nn.Identity(), nn.Identity()

    def forward(self, x):
        x = self.hook_resid_pre(x)
        x = x + self.attn(self.ln1(x))
        return self.hook_resid_post(x + self.mlp(self.ln2(x)))


class Hooked(nn.Module):
    """A decoder with the hook points and weights of TransformerLens."""

    def __init__(self, seed=0):
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.embed, self.place = _weight(draws, WORDS, WIDTH), _weight(draws, LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block(draws) for _ in range(LAYERS))
        self.ln_final, self.unembed = Norm(), _weight(draws, WIDTH, WORDS)

    def forward(self, tokens):
        x = self.embed[tokens] + self.place
        for block in self.blocks:
            x = block(x)
        return self.ln_final(x) @ self.unembed

    def written(self, tokens):
        """What each node adds to the stream, by name, [batch, position, width]."""
        return self.patched(tokens, {}, lambda writer, reader: torch.ones(len(tokens), LENGTH))[0]

    def patched(self, tokens, instead, kept):
        """What each node adds, and the logits, where `kept(writer, reader)`, [batch, position], is read of each writer.

        Each reader's stream is put together of the writers' parts, with no hooks and in no batch of readers.
        """
        written = {"input": self.embed[tokens] + self.place}
        constant = torch.zeros(WIDTH)  # biases, which no node writes

        def read(reader):
            parts = []
            for writer, own in written.items():
                share = kept(writer, reader)[..., None]
                parts.append(share * own + (1 - share) * instead.get(writer, torch.zeros(())))
            return sum(parts) + constant

        for i, block in enumerate(self.blocks):
            attn = block.attn
            heads = [[attn.given(c.upper(), block.ln1(read(f"a{i}.h{h}<{c}>")), h) for h in range(HEADS)] for c in "qkv"]
            z = attn.result(*(torch.stack(parts, 2) for parts in heads))
            written |= {f"a{i}.h{h}": z[:, :, h] @ attn.W_O[h] for h in range(HEADS)}
            constant = constant + attn.b_O
            written[f"m{i}"] = block.mlp(block.ln2(read(f"m{i}")))
        return written, self.ln_final(read("logits")) @ self.unembed


TOKENS = torch.randint(WORDS, (12, LENGTH), generator=torch.Generator().manual_seed(0))
BASE, OTHER = {"i": np.arange(5)}, {"i": np.arange(5, 10)}


def tokens_of(batch):
    return TOKENS[torch.from_numpy(batch["i"])]


def hooked(seed=0, **options):
    return cm.Network(Hooked(seed), encode=tokens_of, decode=lambda x: x[:, -1].argmax(-1), **options)


PROMPTS = {"a": np.array([6, 7, 8, 9, 12]), "b": np.array([10, 11, 12, 13, 6])}
OTHERS = {"a": np.array([10, 9, 13, 6, 7]), "b": np.array([7, 6, 10, 12, 9])}


def decoder(family, *, dtype=torch.float32, **options):
    """A language model of a family that answers with one of eight tokens."""
    return cm.Network.from_transformers(
        families.model(family).to(dtype),
        None,
        prompts=options.pop("prompts", lambda s: [s["a"], s["b"], 7, s["a"], 9]),
        answers={str(i): [i] for i in range(6, 14)},
        **options,
    )
