"""Modules and functions that an engine could silently get wrong: each against single interchanges, row by row."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from tests.models.test_sweep import Counts

X = torch.randn(64, 5, 8, generator=torch.Generator().manual_seed(0))
BASE, SOURCE = {"i": np.arange(8)}, {"i": np.arange(9, 17)}


def network(module, decode=lambda x: x.argmax(-1), encode=lambda b: X[torch.from_numpy(b["i"])], **options):
    return cm.Network(module, encode=encode, decode=decode, **options)


def one_by_one(net, base, feature, source):
    pairs = zip(*({v: x.tolist() for v, x in batch.items()}["i"] for batch in (base, source)), strict=True)
    return [net.interchange({"i": b}, {feature: {"i": s}}) for b, s in pairs]


class M(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)


class Leaves(M):
    """The base goes past the site by way of numpy or a list, and matters in one rare base alone."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        first = np.array(x[:, 0, 0].tolist()) if self.how == "list" else x.numpy()[:, 0, 0]
        rare = torch.from_numpy((np.abs(first - float(X[7, 0, 0])) < 1e-6).astype("f"))
        return self.head(self.c(torch.tanh(self.a(x))).mean(1)) * (1 - 2 * rare[:, None])


@pytest.mark.parametrize("how", ["numpy", "list"])
def test_values_that_leave_torch(how):
    net = network(Leaves(how))
    draws = np.random.default_rng(0)
    base, source = {"i": draws.integers(0, 40, 400)}, {"i": draws.integers(40, 60, 400)}
    base["i"][[0, 199, 200, 399]] = 1
    feature = cm.Feature(net.site("c"))
    assert net.interchange(base, {feature: source}).tolist() == one_by_one(net, base, feature, source)


@dataclass
class Out:
    logits: torch.Tensor


class Remembers(nn.Module):
    """Its answer depends on whether its first part ran in this pass."""

    def __init__(self, scale=1.0, wrap=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.wrap = scale, wrap
        self.first, self.second, self.last = Counts(), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        before = self.first.ran
        x = self.first(x)
        ran = self.last(torch.tanh(self.second(x))).mean(1) + (self.first.ran == before) * torch.tensor([5.0, 0, 0, 0])
        return self.wrap(ran * self.scale)


@pytest.mark.parametrize(
    ("module", "decode"),
    [
        (Remembers(), lambda x: x.argmax(-1)),
        (Remembers(scale=1e-5), lambda x: x.argmax(-1)),
        (Remembers(wrap=Out), lambda x: x.logits.argmax(-1)),
        (Remembers(wrap=lambda x: {"out": (x,)}), lambda x: x["out"][0].argmax(-1)),
    ],
    ids=["plain", "small", "dataclass", "nested"],
)
def test_what_differs_is_seen_in_outputs_of_any_kind(module, decode):
    net = network(module, decode)
    feature = cm.Feature(net.site("second", position=1))
    expected = one_by_one(net, BASE, feature, SOURCE)
    with pytest.warns(cm.ReplayWarning, match="every pass is made in full"):
        assert net.sweep(BASE, SOURCE, [feature]).answers[feature].tolist() == expected


class HookPoint(M):
    def __init__(self):
        super().__init__()
        self.hook = nn.Identity()

    def forward(self, x):
        x = self.a(x)
        return self.head((x + self.b(self.hook(x))).mean(1))


def test_functions_that_work_in_place_do_not_reach_around_the_site():
    net = network(HookPoint(), decode=lambda x: {"argmax": x.argmax(-1), "sum": x.sum(-1)})
    feature = cm.Feature(net.site("hook"))
    found, expected = (net.run(BASE, {feature: f})["sum"] for f in (lambda v: v.mul_(0), lambda v: v * 0))
    assert np.allclose(found, expected)


class Sorts(M):
    """Its rows are put into another order and back, as for packed sequences."""

    def forward(self, x):
        x = self.a(x).mean(1)
        order = x[:, 0].argsort()
        return self.head(torch.tanh(self.b(x[order])[order.argsort()]))


class Aside(M):
    """One module keeps its result where a later one finds it."""

    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.kept = nn.Linear(8, 8), None

        def forward(self, x):
            self.kept = self.inner(x)
            return torch.tanh(x)

    class Finds(nn.Module):
        def __init__(self, keeps):
            super().__init__()
            self.inner = nn.Linear(8, 8)
            self.found = [keeps]

        def forward(self, x):
            return self.inner(x) + self.found[0].kept

    def __init__(self):
        super().__init__()
        self.k = Aside.Keeps()
        self.f = Aside.Finds(self.k)

    def forward(self, x):
        return self.head(torch.tanh(self.c(self.f(self.b(self.k(self.a(x)))))).mean(1))


class Experts(M):
    """Rows are routed to modules that see those rows alone."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x):
        x = self.a(x)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            rows = (x[:, 0, 0] > 0).long() == i
            if rows.any():
                out[rows] = expert(x[rows])
        return self.head(torch.tanh(self.b(out)).mean(1))


class InPlace(M):
    def forward(self, x):
        x = self.a(x)
        x += self.b(torch.relu_(self.c(x)))
        return self.head(torch.relu_(x + 1).mean(1))


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("kind", [Sorts, Aside, Experts, InPlace])
@pytest.mark.filterwarnings("ignore::commute.ReplayWarning")
def test_sweeps_of_unusual_modules(kind, rows):
    """Where replaying is not right it must be given up, and where it is not it must be right."""
    net = network(kind(), decode=lambda x: {"answer": x.argmax(-1), "score": x[:, 1]})
    paths = [s.path for s in net.sites("*", inputs=BASE) if "experts" not in s.path]
    features = [cm.Feature(net.site(p), dims=(0, 2)) for p in paths]
    base, source = ({"i": x["i"][:rows]} for x in (BASE, SOURCE))
    replayed = network(kind(), decode=net.decode)
    swept = replayed.sweep(base, source, features)
    assert replayed.replays or kind is not InPlace
    for feature in features:
        expected = net.interchange(base, {feature: source})
        assert np.allclose(swept.answers[feature]["score"], expected["score"], atol=1e-5), feature


def test_inputs_by_row_that_are_no_tensors():
    class Named(M):
        def forward(self, x, names):
            return self.head(self.b(torch.tanh(self.a(x)).mean(1) + torch.tensor([[len(n)] for n in names])))

    net = network(Named(), encode=lambda b: {"x": X[torch.from_numpy(b["i"])], "names": ["n" * (i % 3) for i in b["i"].tolist()]})
    draws = np.random.default_rng(0)
    base, source = ({"i": draws.integers(0, 9, 300)} for _ in range(2))
    feature = cm.Feature(net.site("b"), dims=(0, 1))
    expected = one_by_one(net, base, feature, source)
    assert net.sweep(base, source, [feature]).answers[feature].tolist() == expected
    assert net.interchange(base, {feature: source}).tolist() == expected


def test_whole_numbers_along_directions():
    class Deep(M):
        def forward(self, x):
            return self.head(self.a(x).mean(1))

    net = network(Deep())
    q = torch.linalg.qr(torch.randn(4, 3, generator=torch.Generator().manual_seed(0))).Q
    feature = cm.Feature(net.site("head"), cm.Orthogonal(q))
    read = net.activations(BASE, [feature], {feature: torch.full((8, 3), 2)})[feature]
    assert torch.allclose(read, torch.full((8, 3), 2.0), atol=1e-6)


@pytest.mark.parametrize("wrap", [Out, lambda x: {"out": {"logits": x}}, lambda x: ((x,),)])
def test_nan_within_outputs(wrap):
    class Broken(M):
        def forward(self, x):
            return wrap(self.head(x.mean(1)) * torch.nan)

    with pytest.raises(cm.CommuteError, match="has NaN"):
        network(Broken(), decode=lambda x: torch.zeros(8)).run(BASE)


def test_tables_that_a_module_makes_when_it_needs_them_can_have_gradients():
    class Lazy(M):
        def __init__(self):
            super().__init__()
            self.scale, self.tables = None, {}

        def forward(self, x):
            if self.scale is None:
                self.scale = torch.linspace(0, 1, 8)
                self.tables["bias"] = torch.ones(8)
            return self.head((self.a(x) * self.scale + self.tables["bias"] * self.b(x)).mean(1))

    module = Lazy()
    net = network(module)
    net.run(BASE)
    net.sweep(BASE, SOURCE, [net.site("a")])
    module(X[:3]).sum().backward()
    assert module.a.weight.grad.abs().sum() > 0


def test_a_pass_that_ends_early_leaves_no_state_behind():
    class Deep(M):
        depth = 0

        def forward(self, x):
            self.depth += 1
            x = self.head(torch.tanh(self.b(self.a(x))).mean(1))
            self.depth -= 1
            return x

    module = Deep()
    net = network(module)
    net.sweep(BASE, SOURCE, [cm.Feature(net.site("a"), dims=(0,))])
    assert module.depth == 0
    assert net.replays


def test_noise_at_two_sites_is_not_the_same():
    class Deep(M):
        def forward(self, x):
            return self.head((self.a(x) + self.b(x)).mean(1))

    net = network(Deep())
    a, b = (cm.Feature(net.site(p, position=0)) for p in "ab")
    plain = net.activations(BASE, [a, b])
    noisy = net.activations(BASE, [a, b], {a: cm.Noise(1.0), b: cm.Noise(1.0)})
    drawn = [(noisy[f] - plain[f]).flatten() for f in (a, b)]
    assert abs(float(torch.corrcoef(torch.stack(drawn))[0, 1])) < 0.5


def test_labels_and_inputs_in_other_containers():
    class Deep(M):
        def forward(self, x):
            return self.head(self.a(x).mean(1))

    net = network(Deep())
    expected = net.run(BASE).tolist()
    assert network(net.module, decode=lambda x: list(x.argmax(-1))).run(BASE).tolist() == expected
    assert net.run({"i": np.array(2)}) == net.run({"i": torch.tensor(2)}) == expected[2]
    site = cm.Feature(net.site("a"))
    assert net.run(BASE, {site: cm.Resample({"i": [3]})}).tolist() == [expected[3]] * 8
    assert net.run(BASE, {site: cm.Resample({"i": 3})}).tolist() == [expected[3]] * 8
    with pytest.raises(cm.CommuteError, match="empty mapping"):
        network(net.module, decode=lambda x: {}).run(BASE)


def test_named_results_of_torch_can_be_patched():
    class Greatest(nn.Module):
        def forward(self, x):
            return x.max(1)

    class Deep(M):
        def __init__(self):
            super().__init__()
            self.greatest = Greatest()

        def forward(self, x):
            return self.head(self.greatest(self.a(x)).values)

    net = network(Deep())
    site = net.site("greatest", element=0)
    assert net.interchange(BASE, {cm.Feature(site): SOURCE}).tolist() == net.run(SOURCE).tolist()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of the compiler's own
@pytest.mark.parametrize("made", [torch.compile, lambda m: [m.a.compile(), m][1]])
def test_compiled_modules_are_told(made):
    with pytest.raises(cm.CommuteError, match="must not be compiled"):
        network(made(M()))


class Recurrent(M):
    """A part whose results hold its rows on the second axis, so that it is never replayed and needs true inputs."""

    def __init__(self):
        super().__init__()
        self.r = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x):
        return self.head(torch.tanh(self.b(self.r(self.a(x))[0])).mean(1))


class Attends(M):
    """Attention whose first axis is that of positions."""

    def __init__(self):
        super().__init__()
        self.attention, self.mlp = nn.MultiheadAttention(8, 2), nn.Linear(8, 8)

    def forward(self, x):
        x = self.a(x)
        turned = x.transpose(0, 1)
        x = x + self.attention(turned, turned, turned, need_weights=False)[0].transpose(0, 1)
        return self.head((x + torch.tanh(self.mlp(x))).mean(1))


@pytest.mark.parametrize(("kind", "path"), [(Recurrent, "b"), (Attends, "mlp")])
def test_what_is_not_replayed_gets_true_inputs(kind, path):
    """Also after a sweep of one base, in which no confusion of bases can be seen."""
    net = network(kind(), decode=lambda x: {"answer": x.argmax(-1), "score": x[:, 1]})
    feature = cm.Feature(net.site(path, position=1), dims=(0, 1))
    for rows in (1, 20):
        base, source = {"i": np.arange(rows)}, {"i": np.arange(20, 20 + rows)}
        swept, expected = net.sweep(base, source, [feature]).answers[feature], net.interchange(base, {feature: source})
        assert np.allclose(swept["score"], expected["score"], atol=1e-5)
    base = {"i": np.sort(np.random.default_rng(0).integers(0, 20, 400))}
    source = {"i": np.random.default_rng(1).integers(20, 40, 400)}
    scores = net.interchange(base, {feature: source})["score"]
    assert np.allclose(scores, [x["score"] for x in one_by_one(net, base, feature, source)], atol=1e-5)
    assert net.replays


def test_a_network_that_takes_another_way_is_traced_anew():
    class Switches(M):
        skip = False

        def forward(self, x):
            x = self.a(x)
            y = self.b(x)
            return self.head(torch.tanh(self.c(y) if self.skip else self.c(y) + x).mean(1))

    net = network(Switches(), decode=lambda x: {"answer": x.argmax(-1), "score": x[:, 1]})
    feature = cm.Feature(net.site("b"), dims=(0, 1))
    for net.module.skip in (True, False):
        swept, expected = net.sweep(BASE, SOURCE, [feature]).answers[feature], net.interchange(BASE, {feature: SOURCE})
        assert np.allclose(swept["score"], expected["score"], atol=1e-5)


class Stacks(M):
    """Results are put on a stack by one module and taken from it by another."""

    class Down(nn.Module):
        def __init__(self, stack):
            super().__init__()
            self.inner, self.stack = nn.Linear(8, 8), stack

        def forward(self, x):
            x = self.inner(x)
            self.stack.append(x)
            return torch.tanh(x)

    class Up(Down):
        def forward(self, x):
            return self.inner(x) + self.stack.pop()

    def __init__(self):
        super().__init__()
        self.stack = []
        self.down, self.up = Stacks.Down(self.stack), Stacks.Up(self.stack)

    def forward(self, x):
        return self.head(torch.tanh(self.c(self.up(self.b(self.down(self.a(x)))))).mean(1))


@pytest.mark.filterwarnings("ignore::commute.ReplayWarning")
def test_what_a_failed_or_stopped_pass_leaves_in_containers_is_put_back():
    net = network(Stacks(), decode=lambda x: {"answer": x.argmax(-1), "score": x[:, 1]})
    features = [cm.Feature(net.site(p), dims=(0, 1)) for p in ("a", "down", "b", "up", "c")]
    swept = net.sweep(BASE, SOURCE, features)
    fresh = network(Stacks(), decode=net.decode)
    for feature in features:
        assert np.allclose(swept.answers[feature]["score"], fresh.interchange(BASE, {feature: SOURCE})["score"], atol=1e-5)
    assert net.module.stack == []


def test_one_huge_score_does_not_hide_others():
    class Masks(Remembers):
        def forward(self, x):
            scores = super().forward(x)
            return torch.cat([scores, torch.full_like(scores[:, :1], torch.finfo(scores.dtype).min)], 1)

    net = network(Masks())
    feature = cm.Feature(net.site("second", position=1))
    expected = one_by_one(net, BASE, feature, SOURCE)
    with pytest.warns(cm.ReplayWarning):
        assert net.sweep(BASE, SOURCE, [feature]).answers[feature].tolist() == expected


def test_nested_sources_of_a_sweep_in_several_blocks():
    class Deep(M):
        def forward(self, x):
            x = self.a(x)
            x = x + torch.tanh(self.b(x))
            return self.head((x + torch.tanh(self.c(x))).mean(1))

    module = Deep()
    rows = np.arange(60)
    base, source, other = {"i": rows % 20}, {"i": rows % 7 + 20}, {"i": rows % 11 + 40}
    answers = []
    for memory in (1 << 30, 1 << 14):
        net = network(module, decode=lambda x: {"answer": x.argmax(-1), "score": x[:, 1]}, memory=memory)
        early, late = cm.Feature(net.site("a", position=0)), cm.Feature(net.site("b", position=1))
        nested = cm.Source(source, sources={early: other})
        answers.append(net.sweep(base, nested, [late]).answers[late]["score"])
        assert np.allclose(answers[-1], net.interchange(base, {late: nested})["score"], atol=1e-5)
