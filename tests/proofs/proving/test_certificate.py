"""Certificates: what is written, and that it is read back."""

import json
import struct
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import commute as cm
from commute.causal.inputs import Inputs
from commute.errors import ClaimError, ModelError, NetworkError
from commute.proofs.proving import hashing, writing
from commute.proofs.proving.certificate import Certificate, certificate_of
from commute.proofs.proving.tree import Members
from tests import certified

LEAK = (0.5 + 2**-30) / 3


def test_what_is_saved_is_loaded(tmp_path):
    for made in (
        certified.certificate(LEAK),
        certified.certificate(1.0, kind="open"),
        certified.certificate(LEAK, kind="counted"),
    ):
        made.save(tmp_path)
        read = Certificate.load(tmp_path)
        assert read.record == made.record
        assert read.tensors.keys() == made.tensors.keys()
        assert all(torch.equal(x, made.tensors[k]) for k, x in read.tensors.items())
        assert (read.outcomes, str(read)) == (made.outcomes, str(made))


def test_outcomes_are_those_that_were_proved(tmp_path):
    proof = certified.proof(LEAK, kind="counted")
    made = certificate_of(certified.algorithm, certified.network(), certified.alignment(), [proof])
    assert made.outcomes == (proof.outcome,)
    assert made.outcomes[0].kinds == Counter({(False, True): 8, (True, False): 4})
    assert (made.lower, made.upper, made.level, made.total, made.undecided) == (
        Fraction(52, 64),
        Fraction(52, 64),
        "exact",
        64,
        0,
    )


def test_the_worst_statement_counts(tmp_path):
    proofs = [certified.proof(0.125), certified.proof(1.0), certified.proof(0.5)]
    made = certificate_of(certified.algorithm, certified.network(), certified.alignment(), proofs)
    assert made.lower == min(p.outcome.lower for p in proofs)
    assert made.upper == min(p.outcome.upper for p in proofs)
    assert (made.level, made.total) == ("sound", 3 * 64)  # with a leak of 1/2 some scores are equal
    assert made.undecided == proofs[2].outcome.undecided > 0


def test_boxes_are_told_by_their_shares(tmp_path):
    made = certificate_of(certified.algorithm, certified.network(), certified.alignment(), [certified.box_proof(0.26)])
    made.save(tmp_path)
    read = Certificate.load(tmp_path)
    assert (read.lower, read.upper, read.level) == (Fraction(3, 4), Fraction(1), "sound")
    assert read.outcomes == made.outcomes
    assert read.undecided == Fraction(1, 4)
    assert "all numbers within 0.26" in str(read)


def test_it_is_told_in_words():
    first, second = str(certified.certificate(LEAK)).split("\n")
    assert first == "two bits as one bit or the other: exact, IIA = 13/16 = 0.8125"
    assert second.startswith(
        "  high: IIA = 13/16 = 0.8125; 64 pairs of 8 × 8 different inputs; 3 bounds; 5 evaluated; 12 within rounding"
    )
    assert second.endswith("wrong first for the base (a=3, b=False) with high from (a=0, b=False)")
    assert "IIA in [0.25, 0.75]" in str(certified.certificate(1.0, kind="open"))
    assert "wrong" not in str(certified.certificate(0.0))


def test_nothing_is_no_certificate():
    with pytest.raises(ClaimError, match="at least one proof"):
        certificate_of(certified.algorithm, certified.network(), certified.alignment(), [])


@pytest.mark.parametrize("file", ["certificate.json", "certificate.safetensors"])
def test_changed_files_are_not_loaded(file, tmp_path):
    certified.certificate().save(tmp_path)
    data = (tmp_path / file).read_bytes()
    for place in range(9, len(data), 97):
        (tmp_path / file).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ClaimError):
            Certificate.load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ClaimError, match="does not hold a certificate"):
        Certificate.load(tmp_path)


def test_other_versions_are_not_loaded(tmp_path):
    certified.certificate().save(tmp_path)
    record = json.loads((tmp_path / "certificate.json").read_text())
    del record["sha256"]
    record["version"] = 2
    (tmp_path / "certificate.json").write_text(hashing.canonical({**record, "sha256": hashing.digest(record)}))
    with pytest.raises(ClaimError, match="version 2"):
        Certificate.load(tmp_path)


# ---- the algorithm ------------------------------------------------------------------------------------------------------------


def solved(record, tensors, inputs):
    """Every variable's codes from the tables that were written."""
    codes = dict(inputs)
    for v in record["variables"]:
        if v["table"] is not None:
            codes[v["name"]] = tensors[v["table"]].numpy()[tuple(codes[p] for p in v["parents"])]
    return codes


def test_tables_answer_as_the_algorithm_does():
    colours = cm.Finite(("red", "green", (1, 2), None))
    model = cm.CausalModel(
        "many",
        inputs={"c": colours, "n": cm.Finite(range(5)), "b": cm.Bool},
        mechanisms={
            "warm": lambda c: c == "red",
            "unused": lambda n: n + 1,
            "three": lambda: 3,
            "sum": lambda n, three, b: n + three * b,
            "out": lambda warm, sum: (warm, sum % 3),
        },
        outputs=["out"],
    )
    kept = writing.Kept()
    record = writing.algorithm(model, ["warm"], kept)
    names = [v["name"] for v in record["variables"]]
    assert (record["inputs"], record["output"]) == (["c", "n", "b"], "out")
    assert set(names) == {"c", "n", "b", "warm", "three", "sum", "out"}  # the others have no say
    assert record["variables"][0]["labels"] == ["red", "green", "(1, 2)", None]
    listed = Inputs(model).listed
    codes = solved(record, kept.tensors, listed)
    expected = model.evaluate(listed, {}, 40)
    for v in ("warm", "sum", "out"):
        assert (codes[v] == expected[v]).all()
        assert [writing.label(x) for x in model.domain(v)] == next(r["labels"] for r in record["variables"] if r["name"] == v)


def test_algorithms_without_finite_tables_are_refused():
    open_one = cm.CausalModel("open", {"x": cm.Interval(0, 1)}, {"y": lambda x: x > 0.5}, domains={"y": cm.Bool})
    with pytest.raises(ModelError, match="'x' must be Finite"):
        writing.algorithm(open_one, [], writing.Kept())
    wide = {f"x{i}": cm.Finite(range(13)) for i in range(6)}
    large = cm.CausalModel("large", wide, {"y": lambda x0, x1, x2, x3, x4, x5: x0 > x5}, domains={"y": cm.Bool})
    with pytest.raises(ModelError, match="4,826,809 rows"):
        writing.algorithm(large, [], writing.Kept())
    alike = cm.CausalModel("alike", {"x": cm.Finite(((1, 2), "(1, 2)"))}, {"y": lambda x: x == "(1, 2)"})
    with pytest.raises(ModelError, match="one text"):
        writing.algorithm(alike, [], writing.Kept())


def test_labels_that_json_lacks_become_text():
    given = [True, 1, "x", None, 1.5, (1, 2), float("inf"), np.int64(3), frozenset()]
    assert [writing.label(x) for x in given] == [True, 1, "x", None, 1.5, "(1, 2)", "inf", 3, "frozenset()"]


# ---- numbers ------------------------------------------------------------------------------------------------------------------


def test_numbers_are_kept_exactly_and_equal_ones_once(tmp_path):
    proof = certified.proof(LEAK)
    made = certificate_of(certified.algorithm, certified.network(), certified.alignment(), [proof, replace(proof)])
    made.save(tmp_path)
    tensors = load_file(tmp_path / "certificate.safetensors")
    one, other = made.record["statements"]
    assert one == other
    base, source = one["sides"]
    assert torch.equal(tensors[base["steps"][0]["weights"][0]["values"]], proof.sides[0].steps[0].weights[0])
    sparse = source["steps"][0]["weights"][0]
    kept = proof.sides[1].steps[0].weights[0].coalesce()
    assert torch.equal(tensors[sparse["index"]], kept.indices())
    assert torch.equal(tensors[sparse["values"]], kept.values())
    assert torch.equal(tensors[one["entries"]], certified.entries())
    contents = [(str(x.dtype), tuple(x.shape), x.numpy().tobytes()) for x in tensors.values()]
    assert len(set(contents)) == len(contents)


def test_minus_zero_is_kept():
    kept = writing.Kept()
    assert kept.add(torch.tensor([0.0])) != kept.add(torch.tensor([-0.0]))
    assert kept.add(torch.tensor([0.0])) == "0"


def test_members_are_sets_in_a_row():
    members = Members.of([np.array([3, 4]), np.array([7])])
    assert (len(members), members[0].tolist(), members[1].tolist()) == (2, [3, 4], [7])
    assert (members.members.dtype, members.offsets.dtype, members.offsets.tolist()) == (np.int32, np.int64, [0, 2, 3])


# ---- digests ------------------------------------------------------------------------------------------------------------------


def test_the_digest_of_weights_follows_its_rule():
    """The texts and bytes that the rule names, put together by hand."""
    weight = '["weight", "F32", [2, 3]]'
    texts = {
        "steps": b'[\n "steps",\n "I64",\n []\n]\n' + struct.pack("<q", 3),
        "weight": b'[\n "weight",\n "F32",\n [\n  2,\n  3\n ]\n]\n' + struct.pack("<6f", *range(6)),
    }
    assert json.loads(weight) == json.loads(texts["weight"][:-24])
    expected = sha256(texts["steps"] + texts["weight"]).hexdigest()
    assert hashing.digest_of_weights(certified.Module()) == expected
    assert certified.certificate().record["digests"]["weights"] == expected


def test_digests_tell_networks_alignments_and_domains_apart():
    made = certified.certificate().record["digests"]
    other = certified.network()
    with torch.no_grad():
        other.module.weight[0, 0] += 2**-20
    proof = certified.proof()
    weights = certificate_of(certified.algorithm, other, certified.alignment(), [proof]).record["digests"]
    rotated = cm.Alignment({"high": cm.Feature(cm.Site("hidden"), dims=(0,))})
    features = certificate_of(certified.algorithm, certified.network(), rotated, [proof]).record["digests"]
    assert [k for k in made if made[k] != weights[k]] == ["weights"]
    assert [k for k in made if made[k] != features[k]] == ["alignment"]
    algorithm, _ = certified.algorithm.rename({"a": "z"})
    domain = certificate_of(algorithm, certified.network(), certified.alignment(), [proof]).record["digests"]
    assert [k for k in made if made[k] != domain[k]] == ["domain"]


def test_weights_of_unknown_kinds_are_refused():
    with pytest.raises(NetworkError, match="complex64"):
        hashing.digest_of_tensors({"x": torch.zeros(1, dtype=torch.complex64)})
