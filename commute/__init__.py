"""Causal-abstraction verification for neural networks.

Names are loaded when first used, so importing the package costs nothing that is not needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commute.alignments.accuracy import Accuracy, interchange_accuracy
    from commute.alignments.alignment import Alignment
    from commute.alignments.binary_mask import BinaryMask
    from commute.alignments.boundless import BoundlessDAS
    from commute.alignments.circuits.methods import EdgeAttribution, EdgePatching, NodeAttribution, NodePatching
    from commute.alignments.circuits.optimal import OptimalAblation
    from commute.alignments.circuits.pruning import GreedyPruning
    from commute.alignments.circuits.result import CircuitSearch
    from commute.alignments.circuits.search import search_circuit
    from commute.alignments.das import DAS
    from commute.alignments.feature import Feature
    from commute.alignments.featurizers import (
        PCA,
        Affine,
        Composed,
        Identity,
        Invertible,
        Mask,
        Orthogonal,
        SparseAutoencoder,
        reconstruction_error,
    )
    from commute.alignments.from_pyvene import from_pyvene
    from commute.alignments.full_vector import FullVector
    from commute.alignments.hypotheses import Comparison, compare_hypotheses
    from commute.alignments.nonlinear import NonlinearDAS
    from commute.alignments.principal import PrincipalComponents
    from commute.alignments.probe import Probe
    from commute.alignments.result import SearchResult
    from commute.alignments.search import search
    from commute.alignments.selection import Selection
    from commute.alignments.spec import Halving, Search
    from commute.alignments.to_pyvene import to_pyvene
    from commute.causal import library
    from commute.causal.approximate import Approximation, approximation
    from commute.causal.designs import exhaustive, pairs
    from commute.causal.distinguishing import distinguishing_pairs
    from commute.causal.domains import Bool, Finite, Interval
    from commute.causal.interventions import Source
    from commute.causal.mechanisms import Table
    from commute.causal.model import CausalModel
    from commute.causal.pairs import Pairs
    from commute.causal.tau import Tau
    from commute.cli.progress import progress
    from commute.errors import CommuteError, ReplayWarning, SlowWarning
    from commute.models import organisms, zoo
    from commute.models.ablations import Mean, Noise, Resample, Zero
    from commute.models.answers import Generated, TopToken
    from commute.models.circuits.circuit import Circuit
    from commute.models.circuits.graph import computation_graph
    from commute.models.circuits.ports import Reads, Writes
    from commute.models.cost import Cost
    from commute.models.network import Network
    from commute.models.prompts import Prompt
    from commute.models.sites import Site, Tap
    from commute.models.sweep import Sweep
    from commute.proofs import circuits
    from commute.proofs.abstracts import abstracts, equivalent
    from commute.proofs.circuits.scrubbing import Scrubbing, scrub
    from commute.proofs.claim import Claim, claim
    from commute.proofs.diagnostics import Rival
    from commute.proofs.paired import PairedComparison, compare_alignments
    from commute.proofs.proving.budget import Budget
    from commute.proofs.proving.certificate import Certificate
    from commute.proofs.refute import Refutation, refute
    from commute.proofs.replaying import replay
    from commute.proofs.verbs import prove, verify
    from commute.proofs.verdict import Verdict

__version__ = "0.1.0"

_HOMES = {
    "Accuracy": "alignments.accuracy",
    "Affine": "alignments.featurizers",
    "Alignment": "alignments.alignment",
    "Approximation": "causal.approximate",
    "BinaryMask": "alignments.binary_mask",
    "Bool": "causal.domains",
    "BoundlessDAS": "alignments.boundless",
    "Budget": "proofs.proving.budget",
    "CausalModel": "causal.model",
    "Certificate": "proofs.proving.certificate",
    "Circuit": "models.circuits.circuit",
    "CircuitSearch": "alignments.circuits.result",
    "Claim": "proofs.claim",
    "CommuteError": "errors",
    "Comparison": "alignments.hypotheses",
    "Composed": "alignments.featurizers",
    "Cost": "models.cost",
    "DAS": "alignments.das",
    "EdgeAttribution": "alignments.circuits.methods",
    "EdgePatching": "alignments.circuits.methods",
    "Feature": "alignments.feature",
    "Finite": "causal.domains",
    "FullVector": "alignments.full_vector",
    "Generated": "models.answers",
    "GreedyPruning": "alignments.circuits.pruning",
    "Halving": "alignments.spec",
    "Identity": "alignments.featurizers",
    "Interval": "causal.domains",
    "Invertible": "alignments.featurizers",
    "Mask": "alignments.featurizers",
    "Mean": "models.ablations",
    "Network": "models.network",
    "NodeAttribution": "alignments.circuits.methods",
    "NodePatching": "alignments.circuits.methods",
    "Noise": "models.ablations",
    "NonlinearDAS": "alignments.nonlinear",
    "OptimalAblation": "alignments.circuits.optimal",
    "Orthogonal": "alignments.featurizers",
    "PCA": "alignments.featurizers",
    "PairedComparison": "proofs.paired",
    "Pairs": "causal.pairs",
    "PrincipalComponents": "alignments.principal",
    "Probe": "alignments.probe",
    "Prompt": "models.prompts",
    "Reads": "models.circuits.ports",
    "Refutation": "proofs.refute",
    "ReplayWarning": "errors",
    "Resample": "models.ablations",
    "Rival": "proofs.diagnostics",
    "Scrubbing": "proofs.circuits.scrubbing",
    "Search": "alignments.spec",
    "SearchResult": "alignments.result",
    "Selection": "alignments.selection",
    "Site": "models.sites",
    "SlowWarning": "errors",
    "Source": "causal.interventions",
    "SparseAutoencoder": "alignments.featurizers",
    "Sweep": "models.sweep",
    "Table": "causal.mechanisms",
    "Tap": "models.sites",
    "Tau": "causal.tau",
    "TopToken": "models.answers",
    "Verdict": "proofs.verdict",
    "Writes": "models.circuits.ports",
    "Zero": "models.ablations",
    "abstracts": "proofs.abstracts",
    "approximation": "causal.approximate",
    "circuits": "proofs",
    "claim": "proofs.claim",
    "compare_alignments": "proofs.paired",
    "compare_hypotheses": "alignments.hypotheses",
    "computation_graph": "models.circuits.graph",
    "distinguishing_pairs": "causal.distinguishing",
    "equivalent": "proofs.abstracts",
    "exhaustive": "causal.designs",
    "from_pyvene": "alignments.from_pyvene",
    "interchange_accuracy": "alignments.accuracy",
    "library": "causal",
    "organisms": "models",
    "pairs": "causal.designs",
    "progress": "cli.progress",
    "prove": "proofs.verbs",
    "reconstruction_error": "alignments.featurizers",
    "refute": "proofs.refute",
    "replay": "proofs.replaying",
    "scrub": "proofs.circuits.scrubbing",
    "search": "alignments.search",
    "search_circuit": "alignments.circuits.search",
    "to_pyvene": "alignments.to_pyvene",
    "verify": "proofs.verbs",
    "zoo": "models",
}

__all__ = [
    "DAS",
    "PCA",
    "Accuracy",
    "Affine",
    "Alignment",
    "Approximation",
    "BinaryMask",
    "Bool",
    "BoundlessDAS",
    "Budget",
    "CausalModel",
    "Certificate",
    "Circuit",
    "CircuitSearch",
    "Claim",
    "CommuteError",
    "Comparison",
    "Composed",
    "Cost",
    "EdgeAttribution",
    "EdgePatching",
    "Feature",
    "Finite",
    "FullVector",
    "Generated",
    "GreedyPruning",
    "Halving",
    "Identity",
    "Interval",
    "Invertible",
    "Mask",
    "Mean",
    "Network",
    "NodeAttribution",
    "NodePatching",
    "Noise",
    "NonlinearDAS",
    "OptimalAblation",
    "Orthogonal",
    "PairedComparison",
    "Pairs",
    "PrincipalComponents",
    "Probe",
    "Prompt",
    "Reads",
    "Refutation",
    "ReplayWarning",
    "Resample",
    "Rival",
    "Scrubbing",
    "Search",
    "SearchResult",
    "Selection",
    "Site",
    "SlowWarning",
    "Source",
    "SparseAutoencoder",
    "Sweep",
    "Table",
    "Tap",
    "Tau",
    "TopToken",
    "Verdict",
    "Writes",
    "Zero",
    "abstracts",
    "approximation",
    "circuits",
    "claim",
    "compare_alignments",
    "compare_hypotheses",
    "computation_graph",
    "distinguishing_pairs",
    "equivalent",
    "exhaustive",
    "from_pyvene",
    "interchange_accuracy",
    "library",
    "organisms",
    "pairs",
    "progress",
    "prove",
    "reconstruction_error",
    "refute",
    "replay",
    "scrub",
    "search",
    "search_circuit",
    "to_pyvene",
    "verify",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'commute' has no attribute {name!r}")
    home = _HOMES[name]
    if name in ("circuits", "library", "organisms", "zoo"):
        return import_module(f"commute.{home}.{name}")
    return getattr(import_module(f"commute.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
