"""The verbs, of an algorithm with an alignment and of a circuit."""

from commute.models.circuits.circuit import Circuit
from commute.proofs.circuits.proving import prove_circuit
from commute.proofs.circuits.verifying import verify_circuit
from commute.proofs.prove import prove
from commute.proofs.verify import verify

__all__ = ["prove", "verify"]

prove.register(Circuit, prove_circuit)
verify.register(Circuit, verify_circuit)
