"""The rules of a verdict, each on a network whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import commute as cm
from tests import planted

FOUND = cm.Search(["left", "right"], [planted.SITE], cm.DAS(dims=1, steps=30, restarts=1), n=512)


def verify(fault="", *, n=2000, alignment=None, algorithm=None, **options):
    alignment = alignment or planted.alignment()
    return cm.verify(algorithm or planted.algorithm(), planted.network(fault), alignment, n=n, **options)


def test_a_true_claim_holds():
    verdict = verify()
    assert verdict.status == "holds"
    assert verdict.counterexample is None
    assert verdict.accuracy.rate == 1
    assert 0.4 < verdict.accuracy.noop.rate < 0.6
    assert all(e.passed for e in verdict.slices)
    assert {e.name for e in verdict.controls} == {"random subspace", "re-initialised network", "permuted algorithm"}


@pytest.mark.parametrize("fault", ["backup", "true to false", "leak"])
def test_an_average_does_not_hide_a_slice(fault):
    """Wrong only when both are replaced, only when left goes from true to false, only through what is not aligned."""
    verdict = verify(fault)
    assert verdict.status == "refuted"
    singles = [e for e in verdict.slices if e.variables != ("left", "right")]
    if fault == "backup":
        assert all(e.passed for e in singles)
    if fault == "true to false":
        assert "left: True → False: IIA is at most" in "\n".join(verdict.reasons)


def test_a_counterexample_is_a_pair_on_which_network_and_algorithm_differ():
    verdict = verify("backup")
    example = verdict.counterexample
    answer = planted.algorithm().interchange(example.base, example.sources)
    features = {planted.alignment()[v]: source for v, source in example.sources.items()}
    assert example.expected == {"same": answer["same"]}
    assert planted.network("backup").interchange(example.base, features) == example.answered != answer["same"]
    assert "the algorithm says same=" in str(example)


def test_the_wrong_algorithm_with_as_many_variables_is_refuted():
    shapes = cm.Finite(range(4))
    wrong = cm.CausalModel(
        "wrong",
        dict.fromkeys("abcd", shapes),
        {"left": lambda a, b: a == b, "right": lambda c, a: c != a, "same": lambda left, right: left == right},
    )
    assert verify(algorithm=wrong).status == "refuted"


def test_exchanged_variables_are_refuted():
    right = planted.alignment()
    assert verify(alignment=cm.Alignment({"left": right["right"], "right": right["left"]})).status == "refuted"


def test_too_few_pairs_are_inconclusive():
    verdict = verify(n=40)
    assert verdict.status == "inconclusive"
    assert any("more pairs are needed" in reason for reason in verdict.reasons)


def test_a_network_that_answers_otherwise_when_left_alone_is_refuted():
    flipped = planted.network()
    flipped = cm.Network(flipped.module, encode=flipped.encode, decode=lambda x: x.argmin(-1).bool())
    verdict = cm.verify(planted.algorithm(), flipped, planted.alignment(), n=500, battery="quick")
    assert verdict.status == "refuted"
    assert verdict.slices[0].name == "no intervention"
    assert verdict.slices[0].count.correct == 0


def test_without_controls_nothing_holds():
    verdict = verify(battery="quick")
    assert verdict.status == "inconclusive"
    assert verdict.controls == ()
    assert all(e.passed for e in verdict.slices)


class Unlearned(planted.Planted):
    """Computes the algorithm whatever its weights are."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.arange(4.0))
        self.register_buffer("fixed", self.rotation.detach())
        del self.rotation
        self.rotation = self.fixed


def test_a_control_that_reaches_the_claim_makes_it_inconclusive():
    net = cm.Network(Unlearned(), encode=planted.encode, decode=lambda x: x.argmax(-1).bool())
    verdict = cm.verify(planted.algorithm(), net, planted.alignment(), n=2000)
    assert verdict.status == "inconclusive"
    assert "left: re-initialised network: this control may reach the claim" in "\n".join(verdict.reasons)


def test_the_controls_repeat_the_search_that_found_the_alignment():
    events = []
    found = cm.Alignment(dict(planted.alignment()), search=FOUND)
    verdict = cm.verify(planted.algorithm(), planted.network(), found, n=1000, on_event=events.append)
    searched = [e.control for e in events if type(e).__name__ == "SearchStarted"]
    assert searched == ["re-initialised network", "permuted algorithm"]
    assert {e.says.split(" on ")[0] for e in verdict.controls if e.name == "re-initialised network"} == {"the same search"}
    assert verdict.status == "holds"


def test_search_and_verification_never_see_the_same_pairs():
    """On a domain so large that draws do not repeat by chance, every stream is seen by the network's own encode."""
    numbers = cm.Finite(range(3000))
    algorithm = cm.CausalModel(
        "larger", {"x": numbers, "y": numbers}, {"big": lambda x: x >= 1500, "out": lambda big, y: big == (y >= 1500)}
    )
    seen = []

    class Compare(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(2, 2)
            self.hidden = nn.Identity()

        def forward(self, x):
            h = self.hidden((x - 1500) / 1500)
            return (h[:, :1] * h[:, 1:] + 0 * self.mix(x)) * torch.tensor([-1.0, 1.0])

    def encode(inputs):
        seen.append(set(zip(inputs["x"].tolist(), inputs["y"].tolist(), strict=True)))
        return torch.from_numpy(np.stack([inputs["x"], inputs["y"]], 1)).float()

    net = cm.Network(Compare(), encode=encode, decode=lambda z: z.argmax(-1).bool())
    result = cm.search(algorithm, net, variables=["big"], sites=[cm.Site("hidden")], method=cm.DAS(dims=1, steps=3), n=300)
    in_search = set().union(*seen)
    seen.clear()
    cm.verify(algorithm, net, cm.Alignment(dict(result.best)), n=300, battery="quick")
    in_verification = set().union(*seen)
    shared = len(in_search & in_verification)
    assert len(in_search) > 500
    assert len(in_verification) > 500
    assert shared <= 2  # of nine million inputs; one stream for both would share hundreds


def test_a_network_that_is_not_deterministic_is_an_error():
    with pytest.raises(cm.CommuteError, match="not deterministic"):
        verify("random")


def test_a_site_that_never_fires_is_an_error():
    with pytest.raises(cm.CommuteError, match="its module did not run"):
        verify(alignment=cm.Alignment({"left": cm.Feature(cm.Site("unused"))}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at_least": 1.5}, "at_least must lie between 0 and 1; given 1.5"),
        ({"confidence": 0}, "confidence must lie"),
        ({"n": 0}, "n must be at least 1"),
        ({"battery": "standart"}, "no battery 'standart'; did you mean 'standard'"),
        ({"alignment": cm.Alignment({"lft": cm.Feature(planted.SITE)})}, "no variable 'lft'; did you mean 'left'"),
    ],
)
def test_a_claim_that_makes_no_sense_is_an_error(options, said):
    with pytest.raises(cm.CommuteError, match=said):
        verify(**options)


def test_a_claim_lists_all_its_problems():
    net = planted.network()
    with pytest.raises(cm.CommuteError) as caught:
        cm.Claim("algorithm", net, search=cm.Search(["left"], []), alignment=planted.alignment(), at_least=2, n=-1)
    assert "the claim has 4 problems" in str(caught.value)
    with pytest.raises(cm.CommuteError) as caught:
        cm.Claim(planted.algorithm(), net, search=cm.Search(["lft"], [cm.Site("hiden")]))
    assert "did you mean 'left'" in str(caught.value)
    assert "did you mean 'hidden'" in str(caught.value)


def test_a_verdict_is_saved_and_read_back(tmp_path):
    verdict = verify("backup", n=500)
    verdict.save(tmp_path)
    assert cm.Verdict.load(tmp_path) == verdict
    assert json.loads((tmp_path / "verdict.json").read_text())["status"] == "refuted"
    (tmp_path / "verdict.json").write_text("{}")
    with pytest.raises(cm.CommuteError, match="does not hold a verdict"):
        cm.Verdict.load(tmp_path)


def claim(n=600, **options):
    return cm.Claim(planted.algorithm(), planted.network(), search=FOUND, n=n, **options)


def test_a_run_is_kept_and_found_again(tmp_path):
    events = []
    first = claim().verify(seed=1, runs=tmp_path, on_event=events.append)
    (folder,) = tmp_path.iterdir()
    kept = {p.name for p in folder.iterdir()}
    assert kept == {"run.json", "events.jsonl", "search.json", "alignment", "pairs.parquet", "verdict.json"}
    run = json.loads((folder / "run.json").read_text())
    assert run["seed"] == 1
    assert run["finished"] >= run["started"]
    assert {"algorithm", "network", "search"} == set(run["hashes"])
    assert run["packages"]["torch"] == torch.__version__
    assert {"commit", "dirty"} == set(run["git"])
    assert [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()][-1] == "Decided"
    frame = pd.read_parquet(folder / "pairs.parquet")
    assert len(frame) == 3 * 600
    assert frame.right.sum() == first.accuracy.overall.correct
    assert (frame.right == (frame["answered.same"] == frame["expected.same"])).all()
    events.clear()
    assert claim().verify(seed=1, runs=tmp_path, on_event=events.append) == first
    assert events == []


def test_what_a_verdict_depends_on_gives_it_a_folder_of_its_own(tmp_path):
    claim().verify(runs=tmp_path)
    claim(n=601).verify(runs=tmp_path)
    claim(at_least=0.9).verify(runs=tmp_path)
    changed = claim()
    with torch.no_grad():
        changed.network.module.rotation[0, 0] += 1e-3
    changed.verify(runs=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_run_cut_off_after_its_search_goes_on_from_there(tmp_path):
    first = claim().verify(runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "verdict.json").unlink()
    events = []
    assert claim().verify(runs=tmp_path, on_event=events.append) == first
    assert [e.control for e in events if type(e).__name__ == "SearchStarted"] == ["re-initialised network", "permuted algorithm"]


def test_the_same_seed_gives_the_same_bytes_and_another_the_same_status(tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        claim(n=1500).verify(seed=seed, runs=tmp_path / name)
    first, again, other = (next((tmp_path / name).glob("*/verdict.json")).read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other
    assert json.loads(first)["status"] == json.loads(other)["status"]
