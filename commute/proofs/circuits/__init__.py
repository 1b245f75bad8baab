"""Circuits: evidence about claims that some edges of a network are enough, and all that it is made of."""

from commute.models.circuits.behaviour import Behaviour
from commute.models.circuits.formats import read_circuit, write_circuit
from commute.models.circuits.graph import Edge, moved, residual_edges
from commute.models.circuits.instead import Instead
from commute.models.circuits.patching import edge_effects
from commute.models.circuits.runs import Runs
from commute.models.circuits.scored import Scored
from commute.proofs.circuits.curves import FaithfulnessCurve, faithfulness_curve
from commute.proofs.circuits.equivalence import EquivalenceTest, equivalence_test
from commute.proofs.circuits.independence import IndependenceTest, independence_test
from commute.proofs.circuits.inflating import MinimalityTest, minimality_test
from commute.proofs.circuits.intervals import Estimate, Spread
from commute.proofs.circuits.known import RocCurve, roc_curve
from commute.proofs.circuits.measures import Faithfulness, Minimality, completeness, faithfulness, minimality, over_repetitions
from commute.proofs.circuits.proving import prove_circuit
from commute.proofs.circuits.random_circuits import random_circuit
from commute.proofs.circuits.staying import Staying, prove_staying
from commute.proofs.circuits.verifying import verify_circuit

__all__ = [
    "Behaviour",
    "Edge",
    "EquivalenceTest",
    "Estimate",
    "Faithfulness",
    "FaithfulnessCurve",
    "IndependenceTest",
    "Instead",
    "Minimality",
    "MinimalityTest",
    "RocCurve",
    "Runs",
    "Scored",
    "Spread",
    "Staying",
    "completeness",
    "edge_effects",
    "equivalence_test",
    "faithfulness",
    "faithfulness_curve",
    "independence_test",
    "minimality",
    "minimality_test",
    "moved",
    "over_repetitions",
    "prove_circuit",
    "prove_staying",
    "random_circuit",
    "read_circuit",
    "residual_edges",
    "roc_curve",
    "verify_circuit",
    "write_circuit",
]
