"""Independent random streams from one seed.

Search, selection, verification and controls each draw from a stream of their own name, so that none sees the others' draws.
"""

from numbers import Integral
from zlib import crc32

import numpy as np

from commute.errors import CommuteError


def stream(seed: int, *path: str) -> np.random.Generator:
    """The generator of `seed` for the purpose named by `path`; other paths give statistically independent streams."""
    key = tuple(crc32(part.encode()) for part in path)
    return np.random.default_rng(np.random.SeedSequence(plain_seed(seed), spawn_key=key))


def plain_seed(seed: int) -> int:
    """The seed as Python's own int.

    Raises:
        CommuteError: unless it is a whole number of at least 0.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise CommuteError(f"a seed must be a whole number of at least 0; given {seed!r}")
    return int(seed)


def torch_seed(generator: np.random.Generator) -> int:
    """Draw a seed for a `torch.Generator`."""
    return int(generator.integers(2**63))
