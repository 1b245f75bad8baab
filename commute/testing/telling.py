"""Counterexamples over several lines, to be read by a person."""

from collections.abc import Mapping

from commute.proofs.counterexample import Counterexample, shown


def told(counterexample: Counterexample) -> list[str]:
    """The base, each source, what the algorithm and the network say and, where it was looked at, what matters: a line each."""
    read = counterexample.read_out
    rows = {"base": shown(counterexample.base)}
    rows |= {f"{v} read out of" if v == read else f"{v} from": shown(source) for v, source in counterexample.sources.items()}
    answered = counterexample.answered
    rows["the algorithm says"] = shown(counterexample.expected)
    rows["the network says"] = shown(answered) if isinstance(answered, Mapping) else repr(answered)
    if counterexample.matters is not None:
        rows["what matters"] = ", ".join(counterexample.matters) or "nothing by itself"
    width = max(map(len, rows))
    return [f"{label:<{width}}  {value}" for label, value in rows.items()]
