"""The claim of `commute demo`."""

from commute.alignments.das import DAS
from commute.alignments.spec import Search
from commute.causal.library import hierarchical_equality as algorithm
from commute.models import zoo
from commute.proofs.claim import Claim

INTRODUCTION = """\
The network: four objects a, b, c, d in, one bit out, trained on the answers alone.
The claim:   it computes  left = (a == b),  right = (c == d),  same = (left == right),
             with left and right in separate subspaces of one of its hidden layers.
"""


def hierarchical_equality() -> Claim:
    """That the zoo's network computes hierarchical equality by way of its two equalities."""
    network = zoo.hierarchical_equality()
    search = Search(["left", "right"], sites=network.sites("*relu*"), method=DAS(dims=8))
    return Claim(algorithm(), network, search=search, at_least=0.95, confidence=0.99)
