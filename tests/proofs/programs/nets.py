"""Small untrained networks for sums of sums, each with operations of its own, and pairs to interchange in them."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import commute as cm
from commute.causal.inputs import Inputs

N = 5  # values of an input
NUMBERS = cm.Finite(range(N))
ALGORITHM = cm.CausalModel(
    "sum of sums",
    dict.fromkeys("abcd", NUMBERS),
    {
        "left": lambda a, b: (a + b) % N,
        "right": lambda c, d: (c + d) % N,
        "out": lambda left, right: (left + right) % N,
    },
    domains=dict.fromkeys(("left", "right", "out"), NUMBERS),
)


def tokens(batch):
    return torch.from_numpy(np.stack([batch[v] for v in "abcd"], 1)).long()


def picture(batch):
    """A patch of random numbers for each value of each input, [batch, 1, 6, 6]."""
    patches = torch.randn(4, N, 9, generator=torch.Generator().manual_seed(3))
    return torch.cat([patches[i][torch.from_numpy(batch[v]).long()] for i, v in enumerate("abcd")], 1).reshape(-1, 1, 6, 6)


def network(module, *, encode=tokens, decode=lambda scores: scores.argmax(-1), dtype=torch.float32, **options):
    """A network of a kind of module, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = module(**options)
        for p in made.parameters():
            if p.ndim == 1:  # norms and biases that begin as ones and zeros would hide mistakes
                nn.init.normal_(p, 0.5)
    return cm.Network(made.to(dtype).eval(), encode=encode, decode=decode)


def rotated(width, *dims, path, position=None, **options):
    """Variables left and right, each in some directions at a site."""
    q = cm.Orthogonal(torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(1))).Q)
    site, ends = cm.Site(path, position, **options), np.cumsum([0, *dims])
    names = ("left", "right")
    return cm.Alignment({v: cm.Feature(site, q, tuple(range(a, b))) for v, a, b in zip(names, ends, ends[1:], strict=False)})


def drawn(rows, count, algorithm=ALGORITHM):
    """Batches of inputs."""
    inputs = Inputs(algorithm)
    return [algorithm.labels(inputs.sample(np.random.default_rng(i + 1), rows)) for i in range(count)]


def interchanged(net, alignment, base, sources):
    """The scores after an interchange by the package's own passes, [rows, choices]."""
    module, seen = net.module, []

    def decode(scores):
        seen.append(scores.detach().clone())
        return net.decode(scores)

    watched = cm.Network(module, encode=net.encode, decode=decode, positions=net.positions)
    watched.interchange(base, {f: source for v, source in sources.items() for f in alignment.parts(v)})
    return torch.cat(seen).double()


class Residual(nn.Module):
    """Two ReLU layers, the second beside a residual stream."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(N, 6)
        self.linear1, self.relu1 = nn.Linear(24, 16), nn.ReLU()
        self.linear2, self.relu2 = nn.Linear(16, 16), nn.ReLU()
        self.head = nn.Linear(16, N)

    def forward(self, x):
        x = self.relu1(self.linear1(self.embed(x).flatten(1)))
        return self.head(self.relu2(self.linear2(x)) + x)


class Transformer(nn.Module):
    """One block, with causal attention written in one of several ways."""

    def __init__(self, attention="fused", act=nn.GELU, norm=nn.LayerNorm):
        super().__init__()
        self.attention = attention
        self.embed, self.place = nn.Embedding(N, 8), nn.Parameter(torch.randn(4, 8))
        self.norm1, self.qkv, self.mix = norm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.middle, self.norm2 = nn.Identity(), norm(8)
        self.up, self.act, self.down = nn.Linear(8, 16), act(), nn.Linear(16, 8)
        self.last, self.norm3, self.head = nn.Identity(), norm(8), nn.Linear(8, N)

    def forward(self, x):
        x = self.embed(x) + self.place
        q, k, v = (z.unflatten(-1, (2, 4)).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, -1))
        mixed = self.mixed(q, k, v)
        x = self.middle(x + self.mix(mixed.transpose(1, 2).flatten(2)))
        x = self.last(x + self.down(self.act(self.up(self.norm2(x)))))
        return self.head(self.norm3(x)[:, -1])

    def mixed(self, q, k, v):
        if self.attention == "fused":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores, later = q @ k.transpose(-1, -2) / 2, torch.ones(4, 4, dtype=torch.bool).triu(1)
        if self.attention == "infinite":
            scores = scores.masked_fill(later, -torch.inf)
        if self.attention == "finite":
            scores = scores.masked_fill(later, -1e9)
        if self.attention == "added":
            scores = scores + later.float() * torch.finfo(torch.float32).min
        if self.attention == "chosen":
            scores = torch.where(later, torch.full_like(scores, -torch.inf), scores)
        return scores.softmax(-1) @ v


class Gated(nn.Module):
    """A gated hidden layer after an RMS norm, whose site a residual stream goes around."""

    def __init__(self):
        super().__init__()
        self.embed, self.hidden, self.norm = nn.Embedding(N, 4), nn.Identity(), nn.RMSNorm(16)
        self.gate, self.up, self.down = nn.Linear(16, 12), nn.Linear(16, 12, bias=False), nn.Linear(12, 16)
        self.site, self.head = nn.Identity(), nn.Linear(16, N)

    def forward(self, x):
        x = self.hidden(self.embed(x).flatten(1))
        y = self.norm(x)
        return self.head(x + self.site(self.down(F.silu(self.gate(y)) * self.up(y))))


class Convolutional(nn.Module):
    """Convolutions, pooling and norms of batches and groups."""

    def __init__(self):
        super().__init__()
        self.first, self.norm1, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.second, self.norm2, self.drop = nn.Conv2d(4, 4, 2, groups=2, stride=2), nn.GroupNorm(2, 4), nn.Dropout()
        self.head = nn.Linear(4, N)
        self.norm1.running_mean.normal_()
        self.norm1.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = F.max_pool2d(self.relu(self.norm1(self.first(x))), 2)
        x = self.norm2(self.second(F.pad(F.avg_pool2d(x, 2, 1), (1, 1, 1, 1))))
        return self.head(self.drop(F.leaky_relu(x).mean((-1, -2))))


class Encoder(nn.Module):
    """Torch's own transformer, mean-pooled."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
        self.embed, self.layers = nn.Embedding(N, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, N)

    def forward(self, x):
        return self.head(self.layers(self.embed(x)).mean(1))


class Mathematical(nn.Module):
    """Plain arithmetic: whole numbers that are looked up by, powers, divisions, means, writing in place."""

    def __init__(self):
        super().__init__()
        self.table, self.hidden = nn.Parameter(torch.randn(2 * N, 6)), nn.Linear(4 * N + 8, 6)

    def forward(self, x):
        a, b, c, d = x.unbind(1)
        rows = self.table[a + b] * self.table[(c * d) % (2 * N)] - self.table[d].square() / 3
        one_hot = F.one_hot(x, N).float().flatten(1)
        own = torch.stack([a == b, c < d], 1) * 0.1
        y = self.hidden(torch.cat([one_hot, rows, own], 1))
        z = torch.empty_like(y)
        z[:, ::2], z[:, 1::2] = y[:, :3].tanh(), (0.3 * y[:, 3:]).exp()
        z = (z - z.mean(1, keepdim=True)) / (z.var(1, keepdim=True) + 1).sqrt() + z.sigmoid().cumsum(1) ** 3
        z = torch.maximum(z, -z[:, :1]).clamp(max=2) + F.normalize(z, dim=1) + z[:, :5].amax(1, keepdim=True)
        return 2 - z[:, 1:] / (1 + z[:, :1].abs())
