"""The checker against certificates that are true, and against hundreds that were changed."""

import copy
import json
import math
import random
import struct
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
import torch
from flint import arb, arb_mat, ctx
from safetensors.torch import load_file, save, save_file

from commute import recheck as checker
from commute.proofs.proving.certificate import Certificate, certificate_of
from commute.recheck import COUNTED, OPEN, RIGHT, SPLIT, WRONG, Rejected, recheck
from tests import certified

NEAR_TIE = (0.5 + 2**-30) / 3  # a leak by which margins are 2⁻³⁰, which rounding may change
BENT = ("relu", "abs", "square", "tanh", "sigmoid", "exp", "silu", "gelu", "gelu_tanh", "product")
MADE = {
    "right": lambda: certified.certificate(0.125),
    "leaves": lambda: certified.certificate(NEAR_TIE),
    "counted": lambda: certified.certificate(NEAR_TIE, kind="counted"),
    "open": lambda: certified.certificate(1.0, kind="open"),
    "gelu": lambda: certified.certificate(0.125, bent="gelu"),
    "boxes": lambda: certificate_of(certified.algorithm, certified.network(), certified.alignment(), [certified.box_proof(0.26)]),
}


@pytest.fixture(params=["leaves", "counted", "open", "boxes"])
def certificate(request):
    return MADE[request.param]()


def changed(certificate):
    """A copy whose parts can be changed."""
    return Certificate(copy.deepcopy(certificate.record), {k: x.clone() for k, x in certificate.tensors.items()})


def written(certificate, folder):
    """The files of a certificate with digests as they should be, whatever its record is."""
    data, record = save(certificate.tensors), dict(certificate.record)
    if isinstance(record.get("digests"), dict):
        record["digests"] = {**record["digests"], "tensors": sha256(data).hexdigest()}
    text = json.dumps(record, sort_keys=True, indent=1) + "\n"
    text = json.dumps({**record, "sha256": sha256(text.encode()).hexdigest()}, sort_keys=True, indent=1) + "\n"
    (folder / "certificate.json").write_text(text)
    (folder / "certificate.safetensors").write_bytes(data)


def rejected(certificate, folder, told=""):
    written(certificate, folder)
    try:
        recheck(folder)
    except Rejected:
        return 1
    pytest.fail(f"accepted: {told}")


def retold(record, tensors):
    """Say in the record what a tree's counts add up to, so that nothing but the counts can be wrong."""
    statement = record["statements"][0]
    right, wrong, within = tensors[statement["tree"]["counts"]].sum(0).tolist()
    lower, upper = Fraction(right, 64), 1 - Fraction(wrong, 64)
    told = {"lower": f"{lower.numerator}/{lower.denominator}", "upper": f"{upper.numerator}/{upper.denominator}"}
    told["level"] = "exact" if lower == upper else "sound"
    statement.update(told, right=right, wrong=wrong, within_rounding=within)
    record.update(told)


# ---- what is true is accepted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bent", BENT)
@pytest.mark.parametrize("leak", [0.0, 0.125, 0.5, 1.0, 0.5 - 2**-30, NEAR_TIE])
def test_what_is_true_is_accepted(leak, bent, tmp_path):
    """In cells of one kind and counted one by one, with ties (0.5) and margins that rounding may change."""
    for kind in ("leaves", "counted", "open"):
        made = certified.certificate(leak, bent=bent, kind=kind)
        made.save(tmp_path)
        report = recheck(tmp_path)
        assert (report.lower, report.upper, report.level) == (made.lower, made.upper, made.level)


@pytest.mark.parametrize("epsilon", [0.0, 0.125, 0.24, 0.26, 0.375])
def test_boxes_are_accepted(epsilon, tmp_path):
    made = certificate_of(certified.algorithm, certified.network(), certified.alignment(), [certified.box_proof(epsilon)])
    made.save(tmp_path)
    report = recheck(tmp_path)
    assert (report.lower, report.upper, report.level) == (made.lower, Fraction(1), "sound")
    assert (report.lower == 1) == (epsilon < 0.25)


def test_a_box_that_one_bound_does_not_show_is_divided(tmp_path):
    """z² is at least 0.5625 on [0.75, 1.25], of which a line shows 0.5; halving shows more."""
    for threshold, holds in ((1.06, True), (1.13, False)):
        proof = certified.box_proof(0.125, program=certified.box_program("square", threshold))
        certificate_of(certified.algorithm, certified.network(), certified.alignment(), [proof]).save(tmp_path)
        if holds:
            assert recheck(tmp_path).lower == 1
        else:
            with pytest.raises(Rejected, match="of the kind 0, is not shown"):
                recheck(tmp_path)


def test_pairs_within_rounding_are_counted(tmp_path):
    made = certified.certificate(NEAR_TIE, kind="counted")
    assert made.outcomes[0].within_rounding == 12
    made.save(tmp_path)
    recheck(tmp_path)
    statement, counts = made.record["statements"][0], made.tensors[made.record["statements"][0]["tree"]["counts"]]
    counts[counts[:, 2] > 0, 2] -= 1
    statement["within_rounding"] = int(counts[:, 2].sum())
    made.save(tmp_path)
    with pytest.raises(Rejected, match="within rounding"):
        recheck(tmp_path)


def test_what_rounding_may_change_is_not_right(tmp_path):
    """A margin of 2⁻³⁰ is positive in exact arithmetic, which is not enough for a cell that is to be right in float32."""
    made = certified.certificate(0.5 - 2**-30, near=1e-12)
    with pytest.raises(Rejected, match="found are"):
        _saved(made, tmp_path)
    finer = certified.certificate(0.5 - 2**-30, near=1e-12)
    for statement in finer.record["statements"]:
        statement.update(unit=2.0**-53, tiny=2.0**-1022)
    _saved(finer, tmp_path)


def _saved(certificate, folder):
    written(certificate, folder)
    return recheck(folder)


def test_equal_scores_are_neither_right_nor_wrong(tmp_path):
    made = certified.certificate(0.5, kind="counted")
    assert made.undecided > 0
    _saved(made, tmp_path)
    counts = made.tensors[made.record["statements"][0]["tree"]["counts"]]
    counts[counts[:, :2].sum(1) < 16, 0] += 1
    retold(made.record, made.tensors)
    rejected(made, tmp_path)


def test_pairs_may_be_left_undecided(tmp_path):
    """A claim that is weaker than the truth is true, and any pair that is wrong may be named."""
    made = certified.certificate(NEAR_TIE, kind="counted")
    statement, counts = made.record["statements"][0], made.tensors[made.record["statements"][0]["tree"]["counts"]]
    wrong = np.argwhere(certified.truth(NEAR_TIE)[1] < 0).tolist()
    counts[int(counts[:, 1].argmax()), 1] -= 1
    retold(made.record, made.tensors)
    for first in wrong:
        statement["first"] = first
        assert _saved(made, tmp_path).level == "sound"
    statement["first"] = [0, 0]
    rejected(made, tmp_path)


# ---- what is not is rejected ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["certificate.json", "certificate.safetensors"])
def test_every_changed_bit_is_rejected(file, certificate, tmp_path):
    certificate.save(tmp_path)
    data = (tmp_path / file).read_bytes()
    rng = random.Random(file)
    for _ in range(60):
        bit = rng.randrange(8 * len(data))
        (tmp_path / file).write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :])
        with pytest.raises(Rejected):
            recheck(tmp_path)
    for other in (data[:-1], data + b"\n", b"", data[: len(data) // 2]):
        (tmp_path / file).write_bytes(other)
        with pytest.raises(Rejected):
            recheck(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(Rejected, match="FileNotFoundError"):
        recheck(tmp_path)


def test_changed_trees_are_rejected(certificate, tmp_path):
    """With all digests as they should be: cells dropped, doubled, exchanged, of another kind or of other sets."""
    tree, count = certificate.record["statements"][0]["tree"], 0
    rng = np.random.default_rng(0)
    rows = len(certificate.tensors[tree["cells"]])
    names = [n for n in (tree["cells"], tree.get("counts")) if n]

    def with_rows(order):
        made = changed(certificate)
        for name in names:
            made.tensors[name] = made.tensors[name][torch.tensor(order, dtype=torch.int64)].clone()
        return rejected(made, tmp_path, order)

    for i in rng.permutation(rows)[:12].tolist():
        count += with_rows([*range(i), *range(i + 1, rows)])
        count += with_rows([*range(i), i, *range(i, rows)])
    cells = certificate.tensors[tree["cells"]]
    divided = [i for i in range(rows - 1) if cells[i, 0] >= SPLIT and cells[i + 1, 0] != cells[i, 0]]
    for i in divided[:20] if "counts" in tree else []:  # boxes have no sets by which another order is found out
        count += with_rows([*range(i), i + 1, i, *range(i + 2, rows)])
    count += with_rows([])
    if (cells[:, 0] >= SPLIT).any():
        count += with_rows([*range(rows)][::-1])
    for i in rng.permutation(rows)[:8].tolist():
        for kind in {RIGHT, WRONG, OPEN, COUNTED, SPLIT, SPLIT + 1, SPLIT + 2, -1, 2**31 - 1} - {int(cells[i, 0])}:
            made = changed(certificate)
            made.tensors[tree["cells"]][i, 0] = kind
            if "counts" in tree and COUNTED in (kind, int(cells[i, 0])) and max(kind, int(cells[i, 0])) < SPLIT:
                continue  # which can be as true as before
            count += rejected(made, tmp_path, (i, kind))
    assert count >= 20


@pytest.mark.parametrize("name", ["leaves", "counted", "open", "right"])
def test_lies_that_add_up_are_rejected(name, tmp_path):
    """Kinds and counts are changed, and all that follows from the counts is told accordingly."""
    certificate = MADE[name]()
    tree, count = certificate.record["statements"][0]["tree"], 0
    cells, counts = (certificate.tensors[tree[x]] for x in ("cells", "counts"))
    for i in range(len(cells)):
        kind, (right, wrong, within) = int(cells[i, 0]), counts[i].tolist()
        n = max(right + wrong, 1)
        lies = {
            RIGHT: [(WRONG, 0, right, 0), (COUNTED, right - 1, 1, 0), (RIGHT, right + 1, 0, 0), (RIGHT, right - 1, 0, 0)],
            WRONG: [(RIGHT, wrong, 0, 0), (COUNTED, 1, wrong - 1, 0), (WRONG, 0, wrong + 1, 0), (WRONG, 0, wrong, 1)],
            COUNTED: [
                (RIGHT, n, 0, 0),
                (WRONG, 0, n, 0),
                (COUNTED, right + 1, wrong - 1, within),
                (COUNTED, right - 1, wrong + 1, within),
            ],
            OPEN: [(OPEN, 1, 0, 0), (OPEN, 0, 1, 0), (WRONG, 0, 16, 0), (COUNTED, 0, 16, 0), (COUNTED, 16, 1, 0)],
        }.get(kind, [(kind, 1, 0, 0), (kind, 0, 0, 1), (kind, -1, 1, 0)])
        for lie in lies:
            if (
                kind == COUNTED
                and lie[0] != COUNTED
                and within == 0
                and (right == 0 or wrong == 0)
                and lie[1:3] == (right, wrong)
            ):
                continue  # which is no lie
            made = changed(certificate)
            made.tensors[tree["cells"]][i, 0] = lie[0]
            made.tensors[tree["counts"]][i] = torch.tensor(lie[1:])
            retold(made.record, made.tensors)
            count += rejected(made, tmp_path, (i, kind, lie))
    assert count >= 10


def test_changed_members_are_rejected(tmp_path):
    certificate = MADE["leaves"]()
    count = 0
    for node in certificate.record["statements"][0]["tree"]["nodes"]:
        for i in range(len(certificate.tensors[node["members"]])):
            for value in (-1, 8, 2**31 - 1, None):
                made = changed(certificate)
                members = made.tensors[node["members"]]
                members[i] = (members[i] + 1) % 8 if value is None else value
                count += rejected(made, tmp_path)
        offsets = certificate.tensors[node["offsets"]]
        for i in range(len(offsets)):
            for value in (-1, 0 if i else 1, 2**62, int(offsets[i]) + 1):
                made = changed(certificate)
                made.tensors[node["offsets"]][i] = value
                if not torch.equal(made.tensors[node["offsets"]], offsets):
                    count += rejected(made, tmp_path, (i, value))
    assert count >= 100


CLAIMS = {
    "total": [63, 65, "64", 64.0, None],
    "right": [0, 63, 1, -1, 2**70, "52"],
    "wrong": [0, 63, 1, -1, 2**70, True],
    "within_rounding": [-1, 1, 13, 64],
    "lower": ["1/2", "1/1", "13/16 ", "26/32", 1, "0/0"],
    "upper": ["1/2", "1/1", "26/32", 0.8125],
    "level": ["statistical", "EXACT", None],
    "first": [[0, 0], [7, 7], None, [6, 0, 0], [6.0, 0], [], [-1, 0]],
    "labels": [[True, False], ["False", "True"], [False], [False, True, None], [False, False], [], None],
    "variables": [["odd"], ["b"], ["high", "high"], [], ["nothing"], "high", None],
    "method": ["boxes", "proof", None, ["enumeration"]],
    "unit": [0.0, 2.0**-30, 2.0**-53, -1.0, "x", None],
    "tiny": [0.0, 1.0, None],
    "entries": ["0", "nothing", None],
    "sides": [[], [{}], None],
}


@pytest.mark.parametrize("key", CLAIMS)
def test_changed_claims_are_rejected(key, tmp_path):
    for name in ("leaves", "counted"):
        certificate = MADE[name]()
        for value in CLAIMS[key]:
            made = changed(certificate)
            made.record["statements"][0][key] = value
            assert repr(value) != repr(certificate.record["statements"][0][key])
            rejected(made, tmp_path)
            if key in ("lower", "upper", "level"):
                made = changed(certificate)
                made.record[key] = value
                rejected(made, tmp_path)


@pytest.mark.parametrize("name", ["leaves", "boxes"])
def test_any_other_value_is_rejected_or_says_nothing(name, tmp_path):
    """Every value of the record in turn is taken away, or made absurd: never an error of another kind, and nothing hangs."""
    certificate, rng = MADE[name](), random.Random(0)
    free = {
        "names",
        "effort",
        "kinds",
        "answers",
        "weights",
        "alignment",
        "epsilon",
    }  # told but not claimed, or not with this method

    def paths(value, path=()):
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield from paths(inner, (*path, key))

    for path in list(paths(certificate.record))[1:]:
        for value in rng.sample((KeyError, None, -1, 10**30, 1e308, "x", [], {}, [[]], True), 2):
            made = changed(certificate)
            inner = made.record
            for key in path[:-1]:
                inner = inner[key]
            if value is KeyError:
                del inner[path[-1]]
            elif inner[path[-1]] == value:
                continue
            else:
                inner[path[-1]] = value
            free_ = path[:2] == ("algorithm", "variables") and path[2:3] < (2,) and "parents" in path  # inputs have none
            named = path[:3] == ("algorithm", "variables", 2) and "labels" in path  # values of an inner variable, which none hold
            if not (named or free_ or free & set(map(str, path))) or "digests" in path[-1:]:
                rejected(made, tmp_path, (path, value))
            else:
                _tried(made, tmp_path)


def _tried(certificate, folder):
    written(certificate, folder)
    with suppress(Rejected):
        recheck(folder)


@pytest.mark.parametrize("name", ["leaves", "counted", "boxes"])
def test_changed_tables_are_rejected(name, tmp_path):
    certificate = MADE[name]()
    for v in certificate.record["algorithm"]["variables"]:
        if v["table"] is None:
            continue
        for i in range(certificate.tensors[v["table"]].numel()):
            for value in (1 - int(certificate.tensors[v["table"]].view(-1)[i]), 2, -1):
                made = changed(certificate)
                made.tensors[v["table"]].view(-1)[i] = value
                rejected(made, tmp_path, (v["name"], i, value))


@pytest.mark.parametrize("name", ["leaves", "boxes"])
def test_tensors_of_other_types_and_shapes_are_rejected(name, tmp_path):
    certificate = MADE[name]()
    for key, x in certificate.tensors.items():
        others = [
            *(x[:0], x[..., :0], x[:-1], torch.cat([x, x]), x.unsqueeze(0), x.reshape(-1)[:1], x.to(torch.float32)),
            *(x.to(torch.int16), x.to(torch.int32 if x.dtype == torch.int64 else torch.int64)),
            x.reshape(()) if x.numel() == 1 else x.reshape(-1, 1),
        ]
        for other in others:
            if other.shape == x.shape and other.dtype == x.dtype:
                continue
            made = changed(certificate)
            made.tensors[key] = other.contiguous()
            rejected(made, tmp_path)
        made = changed(certificate)
        del made.tensors[key]
        rejected(made, tmp_path)


@pytest.mark.parametrize("name", ["leaves", "boxes"])
def test_numbers_that_are_none_are_rejected(name, tmp_path):
    certificate = MADE[name]()
    for key, x in certificate.tensors.items():
        for i in range(x.numel() if x.dtype == torch.float64 else 0):
            for value in (math.nan, math.inf, -math.inf):
                made = changed(certificate)
                made.tensors[key].view(-1)[i] = value
                rejected(made, tmp_path)


def margins_of(record, tensors):
    """Of a finite statement's record the margins of the right choice, in plain floating point: a second reading of it."""
    statement = record["statements"][0]

    def run(program, x):
        values = [x]
        for step in program["steps"]:
            taken = [values[v] for v in step["inputs"]]
            if step["kind"] == "affine":
                matrices = []
                for w, v in zip(step["weights"], taken, strict=True):
                    m = tensors[w["values"]]
                    if "index" in w:
                        m = torch.zeros(len(tensors[step["bias"]]), v.shape[-1], dtype=torch.float64)
                        m[tuple(tensors[w["index"]])] = tensors[w["values"]]
                    matrices.append(m)
                values.append(sum((v @ m.T for v, m in zip(taken, matrices, strict=True)), tensors[step["bias"]]))
            else:
                values.append(certified._IN_FLOATS[step["kind"]](taken[0]))
        return values[-1]

    x = tensors[statement["entries"]]
    base, source = (run(p, x) for p in statement["sides"])
    scores = run(statement["joint"], base[:, None] + source[None])
    right = torch.from_numpy(certified.truth()[0])
    return torch.where(right == 1, 1.0, -1.0) * (scores[..., 1] - scores[..., 0])


@pytest.mark.parametrize("name", ["leaves", "gelu"])
def test_weights_that_answer_otherwise_are_rejected(name, tmp_path):
    """Weights, biases and entries are negated, or a bit of them is changed: where an answer is another, that is noticed."""
    certificate = MADE[name]()
    before = margins_of(certificate.record, certificate.tensors) > 0
    rng, count = random.Random(name), 0
    for key, x in certificate.tensors.items():
        for i in range(x.numel() if x.dtype == torch.float64 else 0):
            for bit in (63, 62, rng.randrange(53)):
                made = changed(certificate)
                flat = made.tensors[key].view(-1)
                (bits,) = struct.unpack("<Q", struct.pack("<d", float(flat[i])))
                (flat[i],) = struct.unpack("<d", struct.pack("<Q", bits ^ (1 << bit)))
                after = margins_of(made.record, made.tensors)
                if bool(flat[i].isfinite()) and bool(((after > 0) != before).any()):
                    count += rejected(made, tmp_path)
                else:
                    _tried(made, tmp_path)
    assert count >= 20


def test_matrices_have_places_for_their_numbers(tmp_path):
    certificate = MADE["leaves"]()
    step = certificate.record["statements"][0]["sides"][1]["steps"][0]
    index = step["weights"][0]["index"]
    for i, value in [(0, -1), (0, 2), (1, 2**40), (2, -(2**40)), (3, 1)]:
        made = changed(certificate)
        made.tensors[index].view(-1)[i] = value
        rejected(made, tmp_path)
    for key, values in {
        "roundings": [0, -1, 2**24, 2**200, 1.5],
        "inputs": [[1], [-1], [0, 0], []],
        "kind": ["softmax", "product"],
    }.items():
        for value in values:
            made = changed(certificate)
            made.record["statements"][0]["sides"][1]["steps"][0][key] = value
            rejected(made, tmp_path)


def test_more_roundings_make_more_pairs_uncertain(tmp_path):
    made = certified.certificate(0.125)
    last = made.record["statements"][0]["joint"]["steps"][1]
    last["roundings"] = 2**23  # times 2⁻²⁴, which makes an error as large as its sum
    with pytest.raises(Rejected, match="found are"):
        _saved(made, tmp_path)


# ---- the network ------------------------------------------------------------------------------------------------------------


def test_the_network_is_held_against_the_digest(tmp_path):
    state, file = certified.network().module.state_dict(), tmp_path / "network.safetensors"
    certificate = MADE["leaves"]()
    certificate.save(tmp_path)
    save_file(state, file)
    assert recheck(tmp_path, network=file).network
    assert not recheck(tmp_path).network
    data = file.read_bytes()
    rng = random.Random(1)
    for _ in range(200):
        bit = rng.randrange(8 * len(data))
        file.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :])
        with pytest.raises(Rejected):
            recheck(tmp_path, network=file)
    others = [
        {**state, "weight": state["weight"].T.contiguous()},
        {**state, "weight": state["weight"].double()},
        {**state, "more": torch.zeros(1)},
        {"weight": state["weight"]},
        {"weights": state["weight"], "steps": state["steps"]},
    ]
    for other in others:
        save_file(other, file)
        with pytest.raises(Rejected, match="digest of the weights"):
            recheck(tmp_path, network=file)
    with pytest.raises(Rejected, match="FileNotFoundError"):
        recheck(tmp_path, network=tmp_path / "none")


def test_a_statement_is_about_the_arithmetic_of_the_weights(tmp_path):
    certificate = MADE["right"]()
    certificate.record["statements"][0].update(unit=2.0**-53, tiny=2.0**-1022)
    save_file(certified.network().module.state_dict(), tmp_path / "network")
    certificate.save(tmp_path)
    recheck(tmp_path)
    with pytest.raises(Rejected, match="finer than the weights"):
        recheck(tmp_path, network=tmp_path / "network")


def test_digests_of_weights_do_not_hang_on_how_a_file_is_laid_out(tmp_path):
    certificate = MADE["right"]()
    certificate.save(tmp_path)
    state = certified.network().module.state_dict()
    save_file(dict(reversed(state.items())), tmp_path / "network", metadata={"format": "pt"})
    assert load_file(tmp_path / "network").keys() == state.keys()
    recheck(tmp_path, network=tmp_path / "network")


# ---- alone ------------------------------------------------------------------------------------------------------------------


def test_it_imports_nothing_of_the_prover():
    code = "import sys, commute.recheck; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = {n for n in names if n.split(".")[0] == "commute"}
    assert {n for n in own if not n.startswith("commute.recheck")} == {"commute"}
    assert not {"torch", "scipy", "safetensors", "sympy", "networkx", "pandas"} & set(names)


def test_the_command_says_whether_it_holds(tmp_path):
    MADE["right"]().save(tmp_path)
    save_file(certified.network().module.state_dict(), tmp_path / "network")
    command = [sys.executable, "-m", "commute.recheck", str(tmp_path)]
    done = subprocess.run([*command, "--network", str(tmp_path / "network")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "accepted: exact, IIA in [1, 1]; the network's weights are those given" in done.stdout
    record = json.loads((tmp_path / "certificate.json").read_text())
    (tmp_path / "certificate.json").write_text(json.dumps({**record, "lower": "1/2"}))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rejected: certificate.json")


# ---- bounds -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", checker._FUNCTIONS)
def test_lines_hold_the_function(name):
    rng = np.random.default_rng(0)
    f = {**certified._IN_FLOATS, "reciprocal": torch.reciprocal, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt}[name]
    positive = name in ("reciprocal", "sqrt", "rsqrt")
    with ctx.workprec(80):
        for _ in range(60):
            center, radius = rng.normal() * 3, 10 ** rng.uniform(-9, 0.7)
            low, high = (abs(center) + 0.01, abs(center) + 0.01 + radius) if positive else (center - radius, center + radius)
            slope, offset = checker._line(name, arb(low).union(arb(high)))
            points = torch.from_numpy(np.linspace(low, high, 101))
            y, line = f(points), float(slope) * points
            off = 1e-14 * (1 + float(y.abs().max()) + abs(float(slope)) * max(abs(low), abs(high)))
            assert (line + float(offset.lower()) <= y + off).all()
            assert (line + float(offset.upper()) >= y - off).all()
            assert 2 * float(offset.rad()) <= 1.5 * float(y.max() - y.min()) + 10 * off  # and it is no wider than is needed


@pytest.mark.parametrize("name", ["reciprocal", "sqrt", "rsqrt"])
def test_nothing_is_said_where_a_function_is_not_defined(name):
    with ctx.workprec(80):
        assert not checker._line(name, arb(0, 1))[1].is_finite()


def least(steps, sets, rows):
    """Lower bounds of linear functions of the last value."""
    found, _ = checker._bounds(steps, checker._lines(steps, sets), sets, arb_mat(rows.tolist()))
    return [float(x.lower()) for x in found.entries()]


@pytest.mark.parametrize("bent", [*BENT, "sqrt"])
def test_bounds_are_below_every_evaluation(bent):
    """Random programs over sums of random sets: in float64, and in float32 as a machine rounds it."""
    rng = np.random.default_rng(BENT.index(bent) if bent in BENT else 99)
    kinds = {"kind": bent, "inputs": [1, 1] if bent == "product" else [1]}
    with ctx.workprec(80):
        for _ in range(5):
            made = [rng.normal(size=s).astype(np.float32) for s in ((4, 3), (4,), (5, 4), (5,), (2, 5), (2,))]
            if bent == "sqrt":
                made[0], made[1] = 0.05 * made[0], np.abs(made[1]) + 2
            tensors = {str(i): x.astype(np.float64) for i, x in enumerate(made)}
            record = [_affine(0, [0]), kinds, _affine(2, [2]), {"kind": "relu", "inputs": [3]}, _affine(4, [4])]
            about = {"unit": 2.0**-24, "tiny": 2.0**-126}
            sets = [rng.normal(size=(n, 3)) * 10 ** rng.uniform(-6, 0) for n in (1, 6, 9)]
            balls = [arb_mat(s.T.tolist()) for s in sets]
            z = (sets[0][:, None, None] + sets[1][None, :, None] + sets[2][None, None]).reshape(-1, 3)
            programs = [checker._program({"inputs": [3], "steps": record[:n]}, tensors, [3], about) for n in range(1, 6)]
            for dtype in (torch.float64, torch.float32):
                values = [torch.from_numpy(z).to(dtype)]
                w = [torch.from_numpy(x).to(dtype) for x in made]
                values.append(values[0] @ w[0].T + w[1])
                f = {**certified._IN_FLOATS, "sqrt": torch.sqrt, "product": torch.square}[bent]
                values.append(f(values[1]))
                values.append(values[2] @ w[2].T + w[3])
                values.append(values[3].relu())
                values.append(values[4] @ w[4].T + w[5])
                for steps, x in zip(programs, values[1:], strict=True):
                    rows = rng.normal(size=(3, x.shape[1]))
                    true = (x.double().numpy() @ rows.T).min(0)
                    assert all(a <= b + 1e-12 * (1 + abs(b)) for a, b in zip(least(steps, [balls], rows), true, strict=True))


def _affine(place, inputs):
    return {"kind": "affine", "inputs": inputs, "weights": [{"values": str(place)}], "bias": str(place + 1), "roundings": 6}


def test_bounds_are_tight_where_nothing_bends():
    """Of affine steps alone the least value over a finite set is met, up to rounding."""
    rng = np.random.default_rng(3)
    weights, bias, points = rng.normal(size=(2, 3)), rng.normal(size=2), rng.normal(size=(20, 3))
    about = {"unit": 2.0**-53, "tiny": 2.0**-1022}
    with ctx.workprec(80):
        steps = checker._program({"inputs": [3], "steps": [_affine(0, [0])]}, {"0": weights, "1": bias}, [3], about)
        (found,) = least(steps, [[arb_mat(points.T.tolist())]], np.array([[1, -1]]))
    assert found == pytest.approx(((points @ weights.T + bias) @ [1, -1]).min(), rel=1e-7)
