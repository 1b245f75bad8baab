"""Sites of every kind against plain indexing and plain hooks."""

import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.models.calls import Call
from commute.models.positions import frame_of

N, LENGTH, WIDTH = 4, 5, 6
LENGTHS = np.array([5, 2, 3, 4])
MASKS = {
    "right": torch.arange(LENGTH)[None] < torch.from_numpy(LENGTHS)[:, None],
    "left": torch.arange(LENGTH)[None] >= LENGTH - torch.from_numpy(LENGTHS)[:, None],
}
VALUE = torch.arange(N * LENGTH * WIDTH, dtype=torch.float32).reshape(N, LENGTH, WIDTH)


def columns(position, *, mask=None, named=None):
    call = Call((), {} if mask is None else {"attention_mask": mask.long()})
    return frame_of({"i": np.arange(N)}, None, call, named or {}).columns(cm.Site("x", position), LENGTH)


def read(position, mask=None, named=None):
    return cm.Site("x", position).read(VALUE, columns(position, mask=mask, named=named))


def real(row, side, place):
    """The value at a place among the real tokens of a row."""
    return VALUE[row][MASKS[side][row]][place]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("position", [0, 1, -1, -2])
def test_numbers_count_the_real_tokens(side, position):
    assert torch.equal(read(position, MASKS[side]), torch.stack([real(i, side, position) for i in range(N)]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_slices_lists_names_functions_and_arrays_count_them_too(side):
    mask = MASKS[side]
    last_two = torch.stack([real(i, side, slice(-2, None)).flatten() for i in range(N)])
    assert torch.equal(read(slice(-2, None), mask), last_two)
    assert torch.equal(read([-2, -1], mask), last_two)
    places = LENGTHS - 2
    expected = torch.stack([real(i, side, p) for i, p in enumerate(places)])
    for position, named in (
        ("subject", {"subject": lambda _: places}),
        (lambda batch: places[batch["i"]], {}),
        (places, {}),
        (torch.from_numpy(places), {}),
    ):
        assert torch.equal(read(position, mask, named), expected)


def test_rows_of_a_batch_keep_their_own_positions():
    """Positions given row by row follow the rows through blocks of any size, and are written to where they are read."""

    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return self.inner(x).flatten(1)

    outputs = []
    for size in (1, 3, 4):
        net = cm.Network(
            Adds(),
            encode=lambda b: VALUE[torch.from_numpy(b["i"])],
            decode=lambda x: [outputs.append(x), x.argmax(-1)][1],
            batch_size=size,
        )
        site = net.site("inner", position=LENGTHS - 1)
        batch = {"i": np.arange(N)}
        assert torch.equal(net.activations(batch, [site])[site], VALUE[torch.arange(N), LENGTHS - 1])
        outputs.clear()
        net.run(batch, {cm.Feature(site): cm.Zero()})
        expected = VALUE.clone()
        expected[torch.arange(N), LENGTHS - 1] = 0
        assert torch.equal(torch.cat(outputs), expected.flatten(1))


@pytest.mark.parametrize(
    ("position", "said"),
    [
        (2, "asks for position 2, but row 1 has 2 positions"),
        (-3, "asks for position -3, but row 1 has 2"),
        (slice(0, 3), "has from 2 to 3 positions in prompts of 2 to 5 tokens"),
        (slice(7, None), "has from 0 to 0 positions"),
        (None, "has from 2 to 5 positions"),
        ("subjct", "no named position 'subjct'; did you mean 'subject'"),
        (lambda _: np.zeros(3, int), "found as whole numbers"),
        (lambda _: np.zeros(4), "found as whole numbers"),
        (np.zeros(3, int), "gives positions for 3 rows"),
    ],
)
def test_a_position_that_some_prompt_lacks_is_an_error(position, said):
    with pytest.raises(cm.CommuteError, match=said):
        columns(position, mask=MASKS["left"], named={"subject": lambda _: LENGTHS - 1})


@pytest.mark.parametrize("position", [1.5, True, [], {}, np.zeros(2), object()])
def test_what_is_no_position_is_an_error(position):
    with pytest.raises(cm.CommuteError, match="position must be a whole number"):
        cm.Site("x", position)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"head": 1, "heads": 3}, np.s_[:, :, 2:4]),
        ({"head": 2, "heads": 3, "position": -1}, np.s_[:, -1, 4:6]),
        ({"head": 3, "head_axis": 1}, np.s_[:, 3]),
        ({"head": 3, "head_axis": 1, "position": 0, "position_axis": 2}, np.s_[:, 3, 0]),
        ({"position": [0, 2], "position_axis": 2}, np.s_[:, :, [0, 2]]),
    ],
)
def test_heads_and_axes_are_plain_indexing(options, chosen):
    site = cm.Site("x", **options)
    place = options.get("position")
    part = slice(None) if place is None else torch.tensor(place).expand(N, -1) if isinstance(place, list) else place
    expected = VALUE[chosen] if "position" not in options or place in (0, -1) else VALUE[chosen].transpose(1, 2)
    assert torch.equal(site.read(VALUE, part), expected.reshape(N, -1))
    written = site.write(VALUE, torch.full_like(expected, -1.0).reshape(N, -1), part)
    cleared = VALUE.clone()
    cleared[chosen] = -1
    assert torch.equal(written, cleared)


def test_a_site_is_saved_and_read_back():
    for site in (
        cm.Site("x", -1, 2, True, element="a", call=1, heads=4),
        cm.Site("x", slice(1, None)),
        cm.Site("x", [1, 2]),
        cm.Site("x", "subject", position_axis=2, head_axis=1),
        cm.Site("x", np.arange(3)),
        cm.Site("x", np.arange(4).reshape(2, 2)),
    ):
        assert cm.Site.from_record(__import__("json").loads(__import__("json").dumps(site.to_record()))) == site
    with pytest.raises(cm.CommuteError, match="has a function as its position"):
        cm.Site("x", lambda _: 0).to_record()


class Loop(nn.Module):
    """A module run twice, one shared under two names, and ones that return a tuple and a mapping, called by keyword."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.step = nn.Linear(WIDTH, WIDTH)
        self.again = self.step
        self.pair, self.named, self.unused = Pair(), Named(), nn.Identity()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = self.step(torch.tanh(self.step(x)))
        first, second = self.pair(scale=2.0, x=x)
        return self.head((first + self.named(second)["left"]).sum(1))


class Pair(nn.Module):
    def forward(self, x, scale):
        return x, scale * x


class Named(nn.Module):
    def forward(self, x):
        return {"left": x + 1, "right": x}


@pytest.fixture
def loop():
    return cm.Network(Loop(), encode=lambda b: VALUE[torch.from_numpy(b["i"])] / 100, decode=lambda x: x.argmax(-1))


def test_calls_elements_and_inputs_are_what_the_module_sees(loop):
    batch = {"i": np.arange(N)}
    sites = {
        "first": loop.site("step", call=0, position=0),
        "second": loop.site("again", call=1, position=0),
        "into": loop.site("pair", input=True, position=0),
        "keyword": loop.site("pair", input=True, element="x", position=0),
        "left": loop.site("named", element="left", position=0),
        "scaled": loop.site("pair", element=1, position=0),
    }
    x = loop.encode(batch)
    first = loop.module.step(x)
    second = loop.module.step(torch.tanh(first))
    read = loop.activations(batch, sites.values())
    expected = {"first": first, "second": second, "into": second, "keyword": second, "left": 2 * second + 1, "scaled": 2 * second}
    for name, site in sites.items():
        assert torch.allclose(read[site], expected[name][:, 0].detach(), atol=1e-6), name
    kept = []
    spied = cm.Network(loop.module, encode=loop.encode, decode=lambda x: [kept.append(x), x.argmax(-1)][1])
    for name in ("into", "scaled"):
        spied.run(batch, {cm.Feature(sites[name]): cm.Zero()})
        second_ = second.detach().clone()
        second_[:, 0] = 0
        base, scaled = (second_, 2 * second_) if name == "into" else (second.detach(), 2 * second_)
        assert torch.allclose(kept[-1], loop.module.head((base + scaled + 1).sum(1)).detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "step"}, "its module ran 2 times in the forward pass; say which time with call=0 … 1"),
        ({"path": "step", "call": 2}, "asks for call 2, counted from 0, but its module ran 2 times"),
        ({"path": "unused", "call": 0}, "did not run"),
        ({"path": "pair"}, "holds a tuple.*element=0 … 1"),
        ({"path": "named"}, "element='left' … 'right'"),
        ({"path": "named", "element": "middle"}, "asks for element 'middle', but the module's output holds 'left', 'right'"),
        ({"path": "pair", "input": True, "element": "y"}, "asks for input 'y'; the module is called with 'scale', 'x'"),
        ({"path": "head", "head": 0}, "asks for a head, but its value"),
        ({"path": "step", "call": 0, "head": 0, "heads": 4}, "cuts the last axis into 4 heads, but its width is 6"),
    ],
)
def test_sites_that_do_not_say_one_value_are_errors(loop, options, said):
    site = loop.site(options.pop("path"), **options)
    for act in (lambda: loop.activations({"i": [0]}, [site]), lambda: loop.run({"i": [0]}, {cm.Feature(site): cm.Zero()})):
        with pytest.raises(cm.CommuteError, match=said):
            act()


def test_sites_are_listed_with_shapes_from_one_run(loop):
    listed = {str(s): s.shape for s in loop.sites(inputs={"i": [0, 1]})}
    value = (2, LENGTH, WIDTH)
    assert listed == {
        "step#0": value,
        "step#1": value,
        "again#0": value,
        "again#1": value,
        "pair<0>": value,
        "pair<1>": value,
        "named<left>": value,
        "named<right>": value,
        "head": (2, 3),
    }
    assert [s.path for s in loop.sites("p*")] == ["pair"]
