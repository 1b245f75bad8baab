"""Divergence: whether interchanges take activations where natural ones never are (2511.04638)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from commute.alignments.binomial import count
from commute.alignments.feature import Feature
from commute.causal.batches import Batch, Column, distinct, rows_of, take
from commute.proofs.claimed import Claimed
from commute.proofs.diagnostics.lines import measured, not_measured
from commute.proofs.diagnostics.vectors import by_site, fills, patched
from commute.proofs.evidence import Evidence
from commute.runs.seeds import stream

NAME = "divergence"
_VECTORS = 500  # patched ones, and natural ones, at most
_FEWEST = 40  # natural ones without which their distances say nothing
_QUANTILE = 0.99  # of the distances among natural vectors; beyond it a vector counts as far from them
_WARNED = 0.05  # share of vectors that far, five times the natural one
_ROUNDING = 1e-5  # of the largest length


def divergence(claimed: Claimed) -> list[Evidence]:
    """How often a patched vector is further from the nearest natural one than 99 of 100 other natural vectors are.

    Natural vectors are those of inputs in which every value of the variable is equally frequent, as in patched vectors, and
    each is held against those of all other inputs. Far vectors need not do harm: they may differ in what nothing reads. But what
    the network does with vectors that it never sees need not be what it does with its own.
    """
    return [line for v in claimed.alignment for line in _of(claimed, v)]


def _of(claimed: Claimed, variable: str) -> list[Evidence]:
    sites = by_site(claimed.alignment.parts(variable))
    generator = stream(claimed.seed, "diagnostic", NAME, variable)
    n = min(claimed.n, _VECTORS)
    pairs, more = (claimed.fresh.pairs([variable], rows, generator) for rows in (n, 2 * n))
    natural = more.sources[variable]
    natural = take(natural, generator.permutation(_different(natural))[:_VECTORS])
    vectors = [claimed.network.activations(x, sites) for x in (pairs.base, pairs.sources[variable], natural)]
    names = {site: NAME if len(sites) == 1 else f"{NAME} at {site}" for site in sites}
    return [
        _at(claimed, names[site], variable, features, [x[site].double() for x in vectors]) for site, features in sites.items()
    ]


def _at(claimed: Claimed, name: str, variable: str, features: Sequence[Feature], vectors: Sequence[Tensor]) -> Evidence:
    base, source, natural = vectors
    if fills(features, source):
        return not_measured(name, [variable], "its feature is all of its site, so patched vectors are natural ones")
    if len(natural) < _FEWEST:
        return not_measured(name, [variable], f"there are only {len(natural)} different inputs to compare with")
    others = torch.cdist(natural, natural).fill_diagonal_(torch.inf).amin(1)
    usual = float(torch.quantile(others, _QUANTILE)) + _ROUNDING * float(natural.norm(dim=1).max())
    far = count((torch.cdist(patched(features, base, source), natural).amin(1) > usual).cpu().numpy())
    says = (
        f"with {variable} taken from another input the vectors at {features[0].site} are further from natural ones than "
        f"{_QUANTILE:.0%} of natural ones are from each other"
    )
    return measured(claimed, name, [variable], far, says, warning=far.lower(claimed.confidence) > _WARNED)


def _different(inputs: Batch) -> Column:
    """Rows with different inputs: the same input again would be at no distance, which no patched vector can match."""
    once = distinct(inputs)
    return np.arange(rows_of(inputs)) if once is None else once[0]
