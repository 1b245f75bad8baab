"""Questions with choices to pick from."""

from collections.abc import Hashable, Sequence

from commute.causal.domains import Finite
from commute.causal.library.parts import Over, check_count, labels, numbered
from commute.causal.model import CausalModel


def multiple_choice(
    choices: int = 4,
    contents: Sequence[Hashable] = ("red", "green", "blue", "yellow", "brown", "black"),
    symbols: Sequence[Hashable] = ("A", "B", "C", "D", "E", "F"),
) -> CausalModel:
    """Which symbol stands before the choice that answers the question? (2504.13151).

    "The box is red. What colour is the box? C. green, A. red" is question="red", choice0="green", choice1="red", symbol0="C",
    symbol1="A"; the pointer is 1 and the answer "A". Where several choices match, the pointer is the first of them; where none
    does, the pointer and the answer are None.

    Interchanging `pointer` gives the base's symbol at the source's position; interchanging `answer` gives the source's symbol.

    Variables:
        - `question`: the content that is asked for.
        - `choice0`, `choice1`, …: the content of each choice; `symbol0`, `symbol1`, …: the symbol before it.
        - `pointer`: the position of the first choice that is the content asked for, counted from 0, or None.
        - `answer`, the output: the symbol at the pointer, or None.

    Args:
        choices: how many choices there are.
        contents: what the question and the choices can be.
        symbols: what the symbols can be; not None.

    Raises:
        ModelError: unless there is at least 1 choice, and `contents` and `symbols` each list at least 1 label, all different.
    """
    check_count("choices", choices)
    shown, tags = labels("contents", contents), labels("symbols", symbols)
    choice, symbol = numbered("choice", choices), numbered("symbol", choices)

    def find(question: Hashable, *given: Hashable) -> int | None:
        return given.index(question) if question in given else None

    def read(pointer: int | None, *given: Hashable) -> Hashable:
        return None if pointer is None else given[pointer]

    return CausalModel(
        f"multiple choice of {choices}",
        {"question": shown, **dict.fromkeys(choice, shown), **dict.fromkeys(symbol, tags)},
        {"pointer": Over(("question", *choice), find), "answer": Over(("pointer", *symbol), read)},
        domains={"pointer": Finite((None, *range(choices))), "answer": Finite((None, *tags))},
    )
