"""Parts of the page by themselves: heat maps, rows, costs, provenance, citations."""

import re
from dataclasses import replace

import pytest

from commute.alignments.binomial import Count
from commute.alignments.methods import METHODS
from commute.proofs.battery import ITEMS
from commute.proofs.shown import ItemCost, KeptEdge, SearchedSite
from commute.report import citations
from commute.report.citations import cited
from commute.report.costs import cost_rows
from commute.report.grids import WORST, sites_grid, transition_grids
from commute.report.provenance import provenance_rows
from commute.report.rows import rows
from tests.report import verdicts
from tests.report.verdicts import slice_of


def test_sites_are_rows_in_their_order_and_variables_columns():
    given = [SearchedSite(site, v, i / 10, i / 20) for i, (site, v) in enumerate((s, v) for s in ("z", "y", "x") for v in "ba")]
    grid = sites_grid(given)
    assert (grid.rows, grid.columns) == (("z", "y", "x"), ("b", "a", WORST))
    assert grid.cells["y", "a"].text == "0.300"
    assert grid.cells["x", "b"].shade == 0.4
    assert len(grid.cells) == 9


def test_transitions_are_a_matrix_of_the_finest_groups():
    coarse = [slice_of(("left",), "0…1 → 2…3", 900), slice_of(("left",), "2…3 → 0…1", 800)]
    fine = [slice_of(("left",), f"{i} → {j}", 10 * i + j, 100, kind="transition") for i in range(3) for j in range(4)]
    other = [slice_of(("right",), "0 → 1", 1), slice_of(("right",), "changed", 1), slice_of(("left", "right"), "0 → 1", 1)]
    grids = transition_grids([*coarse, *fine, *other])
    assert list(grids) == ["left", "right"]
    assert grids["left"].rows == grids["left"].columns == ("0", "1", "2", "3")
    assert {k: c.text for k, c in grids["left"].cells.items()} == {
        (str(i), str(j)): f"{(10 * i + j) / 100:.3f}" for i in range(3) for j in range(4)
    }
    assert transition_grids(coarse)["left"].rows == ("0…1", "2…3")


def test_a_transition_of_no_pair_and_a_name_with_two_arrows():
    none = replace(slice_of(("left",), "0 → 1", 1), count=Count(0, 0))
    assert transition_grids([none])["left"].cells["0", "1"].text == "–"
    assert transition_grids([slice_of(("left",), "a → b → c", 1)]) == {}


def test_a_row_is_refuted_or_left_open_by_its_transitions():
    told = verdicts.holds()

    def status(right, total):
        given = slice_of(("left",), "True → False", right, total, kind="transition")
        return {r.variables: r.status for r in rows(replace(told, evidence=(*told.evidence, given)))}

    assert status(250, 250) == {"(left alone)": "holds", "left": "holds", "right": "holds", "left + right": "holds"}
    assert status(50, 250)["left"] == "refuted"
    assert status(34, 40)["left"] == "inconclusive"
    assert status(34, 40)["right"] == "holds"


def test_a_control_that_reaches_the_claim_leaves_its_variable_open():
    told = verdicts.holds()
    reached = (*told.evidence, verdicts.control("right", "shuffled sources", 990))
    status = {r.variables: (r.status, r.control and r.control.name) for r in rows(replace(told, evidence=reached))}
    assert status["right"] == ("inconclusive", "shuffled sources")
    assert status["left"] == ("holds", "re-initialised network")


def test_costs_are_told_beside_the_plain_iia():
    assert cost_rows(verdicts.COSTS) == [
        ("no intervention", 1_000_000, 0.25),
        ("interchange", 4_000_000, 1.0),
        ("null space", 9_000_000, 2.25),
        ("all together", 14_000_000, 3.5),
    ]
    searched = cost_rows([ItemCost("interchange", 2), ItemCost("permuted algorithm: search", 8)])
    assert searched[-2:] == [("all but searches", 2, 1.0), ("all together", 10, 5.0)]
    assert cost_rows([ItemCost("null space", 5)]) == [("null space", 5, None), ("all together", 5, None)]


def test_provenance_tells_the_verdict_and_the_run_each_once():
    told = dict(provenance_rows(verdicts.holds(), verdicts.RUN))
    assert len(told) == len(provenance_rows(verdicts.holds(), verdicts.RUN))
    assert told["seed"] == "3"
    assert told["candidates of the search"] == "12"
    assert told["git commit"] == f"{'d4' * 20} with uncommitted changes"
    assert told["SHA-256 of the network"] == "b2" * 32
    assert told["package torch"] == "2.9.1"
    assert "finished" not in told
    assert "schema" not in told


def test_provenance_of_a_clean_checkout_and_of_none():
    run = {**verdicts.RUN, "git": {"commit": "e5", "dirty": False}}
    assert ("git commit", "e5") in provenance_rows(verdicts.holds(), run)
    none = {"git": {"commit": None, "dirty": None}, "parameters": {}}
    assert not [name for name, _ in provenance_rows(verdicts.holds(), none) if "git" in name or "parameter" in name]


def eprints(verdict):
    return {w.details.get("eprint", w.key): uses for w, uses in cited(verdict).items()}


@pytest.mark.parametrize(
    ("method", "eprint"),
    [("DAS", "2303.02536"), ("BoundlessDAS", "2305.08809"), ("BinaryMask", "2307.03637"), ("NonlinearDAS", "2507.08802")],
)
def test_the_method_that_was_used_is_cited(method, eprint):
    told = replace(verdicts.holds(), method=method)
    assert f"search by {method}" in eprints(told)[eprint]
    others = {"2303.02536", "2305.08809", "2307.03637"} - {eprint}
    assert not others & set(eprints(told))


def test_the_checks_that_were_used_are_cited_and_no_others():
    told = verdicts.holds()
    found = eprints(told)
    assert {"2301.04709", "2106.02997", "2311.17030", "2511.04638", "2502.20914", "clopper1934fiducial"} <= set(found)
    assert found["2507.08802"] == ["random subspace", "re-initialised network", "permuted algorithm"]
    assert "1810.08240" not in found
    without = eprints(replace(told, battery=("interchange",), evidence=told.slices))
    assert not {"2311.17030", "2511.04638", "2502.20914", "2507.08802", "maciver2019hypothesis"} & set(without)
    assert "1810.08240" in eprints(replace(told, accuracy=replace(told.accuracy, independent=False)))
    assert list(eprints(verdicts.abstracted())) == ["commute", "2301.04709"]
    assert "2304.05969" in eprints(replace(verdicts.abstracted(), circuit=(KeptEdge("m0", "logits", 1.0),)))


def test_sources_are_of_methods_and_items_that_there_are():
    assert set(citations.METHODS) <= set(METHODS)
    assert set(citations.CHECKS) <= set(ITEMS)


def test_bibtex_entries_are_well_formed():
    works = [w for w in vars(citations).values() if isinstance(w, citations.Work)]
    assert len(works) == len({w.key for w in works}) == 17
    for work in works:
        lines = work.bibtex.splitlines()
        assert re.fullmatch(r"@(article|inproceedings|misc)\{[a-z]+\d{4}[a-z]+,", lines[0])
        assert all(re.fullmatch(r"  [a-z]+ = \{[^{}]+\},|  title = \{\{[^{}]+\}\},", line) for line in lines[1:-1])
        assert lines[-1] == "}"
        assert str(work.year) in lines[0]
        assert re.fullmatch(r"\d{4}\.\d{5}", work.details.get("eprint", "2301.04709"))
    assert str(citations.INTERCHANGE) == "Geiger et al. (2021), Causal Abstractions of Neural Networks"
    assert str(citations.EXACT).startswith("Clopper and Pearson (1934)")
    assert str(citations.HOLM).startswith("Holm (1979)")
