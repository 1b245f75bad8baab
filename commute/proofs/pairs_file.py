"""The pairs of a verdict, as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commute.proofs.checked import Checked
from commute.runs.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd


def write_pairs(checked: Sequence[Checked], path: Path) -> None:
    """Write parquet, a row a pair: what was done, the pair as in `Pairs.to_frame`, the network's answer, and if it is right."""
    import pandas as pd

    frame = pd.concat([_frame(c) for c in checked], ignore_index=True).convert_dtypes()
    for name in frame.select_dtypes(object).columns:  # labels that parquet has no type for
        frame[name] = frame[name].map(repr)
    write_atomically(path, frame.to_parquet(index=False))


def _frame(checked: Checked) -> "pd.DataFrame":
    frame = checked.pairs.to_frame()
    answered = checked.answered if isinstance(checked.answered, dict) else {next(iter(checked.pairs.expected)): checked.answered}
    frame.insert(0, "what", checked.what)
    for output, column in answered.items():
        frame[f"answered.{output}"] = column
    frame["right"] = checked.right
    return frame
