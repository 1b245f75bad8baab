"""Organisms: networks whose true algorithm and alignment are known, to judge judgements by."""

from commute.models.organisms.circuits import known_circuit
from commute.models.organisms.compiling import compile  # noqa: A004
from commute.models.organisms.modules import mlp, transformer
from commute.models.organisms.organism import Organism, Subspace
from commute.models.organisms.rivals import rivals
from commute.models.organisms.training import train

__all__ = ["Organism", "Subspace", "compile", "known_circuit", "mlp", "rivals", "train", "transformer"]
