from commute.proofs.counterexample import Counterexample
from commute.testing.telling import told


def counterexample(**options):
    sides = {"base": {"a": 1}, "sources": {"left": {"a": 2}}, "expected": {"y": True}, "answered": False}
    return Counterexample("left: changed", **{**sides, **options})


def test_each_side_has_a_line():
    assert told(counterexample()) == [
        "base                a=1",
        "left from           a=2",
        "the algorithm says  y=True",
        "the network says    False",
    ]


def test_several_outputs_and_what_matters():
    lines = told(counterexample(answered={"y": False, "z": None}, matters=("base.a", "left.a")))
    assert lines[3:] == ["the network says    y=False, z=None", "what matters        base.a, left.a"]
    assert told(counterexample(matters=()))[-1] == "what matters        nothing by itself"


def test_what_is_read_out_is_told():
    lines = told(counterexample(sources={"sum": {"a": 3}, "carry": {"a": 4}}, read_out="sum"))
    assert lines[1:3] == ["sum read out of     a=3", "carry from          a=4"]
