"""The other of two names."""

from collections.abc import Hashable, Sequence

from commute.causal.domains import Finite
from commute.causal.library.parts import labels
from commute.causal.model import CausalModel


def indirect_object_identification(
    names: Sequence[Hashable] = ("Mary", "John", "Anna", "Paul", "Emma", "James", "Kate", "Tom"),
) -> CausalModel:
    """Two people are named, one of them again; who is the other? (2211.00593; with its position as in 2504.13151).

    "Mary and John went to the store. John gave a drink to" is first="Mary", second="John", repeated=1, and the answer is "Mary".
    The two names may be the same; the text then does not tell which is repeated, and the first counts as repeated.

    Interchanging `position` moves a pointer: the answer is the base's name at the source's position. Interchanging `name` moves
    the name itself, which need not occur in the base.

    Variables:
        - `first`, `second`: the names, in order; `repeated`: which of them is named again, 0 or 1.
        - `duplicate`: the position, 0 or 1, at which the name that is repeated stands first.
        - `position`: the position of the other name.
        - `name`: the name at that position.
        - `answer`, the output: the name, so that the name can also be set before it is told.

    Args:
        names: the names that both people can have.

    Raises:
        ModelError: unless `names` lists at least 2 different names.
    """
    people, places = labels("names", names, least=2), Finite((0, 1))
    return CausalModel(
        "indirect object identification",
        {"first": people, "second": people, "repeated": places},
        {
            "duplicate": lambda first, second, repeated: 0 if first == second else repeated,
            "position": lambda duplicate: 1 - duplicate,
            "name": lambda first, second, position: (first, second)[position],
            "answer": lambda name: name,
        },
        domains={"duplicate": places, "position": places, "name": people, "answer": people},
    )
