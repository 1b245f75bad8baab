"""Proofs of interchange claims: how many bounds they take, how long, beside enumeration.

    python -m benchmarks.proofs [zoo] [sizes] [trainings] [boxes] [modular]

`modular` needs the network of modular addition; give its folder as MODULAR=PATH in the environment.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch

import commute as cm
from benchmarks.bars import Figure, at_least, report
from benchmarks.boxes import robust_equality
from benchmarks.provable import trained
from commute.models.zoo.equality import SIZES
from commute.proofs.proving.outcome import Outcome

LIMIT = "10m"
JOINT = "60s"  # of a proof about both variables at once
FREQUENCIES = (44, 49, 3, 19)  # of the network of modular addition


def main() -> int:
    """Run the parts that are named, or all."""
    parts: dict[str, Callable[[], Sequence[Figure]]] = {
        "zoo": zoo,
        "sizes": sizes,
        "trainings": trainings,
        "boxes": boxes,
        "modular": modular,
    }
    chosen = sys.argv[1:] or list(parts)
    if unknown := [name for name in chosen if name not in parts]:
        sys.exit(f"no part {', '.join(unknown)}; there is {', '.join(parts)}")
    return report([figure for name in chosen for figure in parts[name]()])


def proved(
    algorithm: cm.CausalModel,
    network: cm.Network,
    alignment: cm.Alignment,
    variables: Sequence[str] | None = None,
    *,
    method: str = "refinement",
    budget: str | None = None,
) -> tuple[cm.Certificate, float]:
    """A certificate, and the seconds it took."""
    start = perf_counter()
    found = cm.prove(algorithm, network, alignment, variables=variables, method=method, budget=budget or LIMIT)
    return found, perf_counter() - start


def found_alignment(algorithm: cm.CausalModel, network: cm.Network, *, site: str = "relu1", dims: int = 8) -> cm.Alignment:
    """Where a search finds both equalities."""
    method = cm.DAS(dims=dims, restarts=2, steps=300)
    return cm.search(algorithm, network, variables=["left", "right"], sites=network.sites(site), method=method, n=4096).best


def line(name: str, outcome: Outcome, seconds: float) -> None:
    """Print one proof."""
    work = outcome.bounds + outcome.evaluated
    bounds = f"{float(outcome.lower):.9f} … {float(outcome.upper):.9f}"
    took = (
        f"{outcome.bounds:>8,} bounds {outcome.evaluated:>12,} evaluated {float(outcome.total / max(work, 1)):>16,.0f} pairs each"
    )
    missed = f"{float(outcome.wrong):,g} wrong, {outcome.within_rounding:,} within rounding"
    print(f"{name:34s} {outcome.total:>22,} pairs  {took}  {bounds}  {missed}  {seconds:.1f} s", flush=True)


def zoo() -> list[Figure]:
    """The zoo's network for 8 values: refinement beside enumeration, on the same statement."""
    algorithm, network = cm.library.hierarchical_equality(8), cm.zoo.hierarchical_equality()
    alignment = found_alignment(algorithm, network)
    fine, quick = proved(algorithm, network, alignment, ["left"])
    every, slow = proved(algorithm, network, alignment, ["left"], method="enumeration")
    (one,), (other,) = fine.outcomes, every.outcomes
    line("8 values, left: refinement", one, quick)
    line("8 values, left: enumeration", other, slow)
    if (one.right, one.wrong, one.first) != (other.right, other.wrong, other.first):
        sys.exit("refinement and enumeration differ")
    joint, seconds = proved(algorithm, network, alignment, ["left", "right"])
    line("8 values, left + right: refinement", joint.outcomes[0], seconds)
    return [
        Figure("undecided pairs of 16.8 million", one.undecided, 0, "pairs"),
        at_least("pairs a bound", one.total / (one.bounds + one.evaluated), 1000, "pairs"),
        Figure("refinement beside enumeration", quick / slow, 0.5, "of its time"),
        at_least("enumeration, tracing and all", other.total / slow / 1e6, 10, "million pairs a second"),
    ]


def sizes() -> list[Figure]:
    """Bounds needed against pairs, for the zoo's networks of all sizes."""
    points, figures = [], []
    for values in SIZES:
        algorithm, network = cm.library.hierarchical_equality(values), cm.zoo.hierarchical_equality(values)
        alignment = found_alignment(algorithm, network)
        for variables in (["left"], ["right"], ["left", "right"]):
            limit = LIMIT if len(variables) == 1 else JOINT
            found, seconds = proved(algorithm, network, alignment, variables, budget=limit)
            (outcome,) = found.outcomes
            line(f"{values} values, {' + '.join(variables)}", outcome, seconds)
            if variables == ["left"]:
                points.append((outcome.total, outcome.bounds + outcome.evaluated))
            if values == max(SIZES) and len(variables) == 1:
                figures.append(
                    Figure(f"{values} values, {variables[0]}: open", float(outcome.upper - outcome.lower), 1e-4, "of IIA")
                )
                figures.append(Figure(f"{values} values, {variables[0]}: time", seconds, 600, "s"))
    _plot(points)
    gains = [pairs / work for pairs, work in points]
    print("pairs a bound:", ", ".join(f"{gain:,.0f}" for gain in gains))
    return [*figures, at_least("gain with 20 values over that with 4", gains[-1] / gains[0], 1, "times")]


def trainings() -> list[Figure]:
    """How far networks of one shape can be proved, by how they were trained; 8 values, a minute each."""
    algorithm = cm.library.hierarchical_equality(8)
    for name, network in {
        "task alone, weight decay 1": trained(8),
        "task alone, weight decay 0.1": trained(8, weight_decay=0.1),
        "task alone, weight decay 0": trained(8, weight_decay=0.0),
        "interchange interventions": trained(8, interchange=True),
    }.items():
        alignment = found_alignment(algorithm, network)
        for method in ("refinement", "auto"):
            found, seconds = proved(algorithm, network, alignment, ["left"], method=method, budget="60s")
            line(f"{name}, {method}", found.outcomes[0], seconds)
    return []


def boxes() -> list[Figure]:
    """A claim about all inputs within 0.05 of prototypes."""
    robust = robust_equality()
    start = perf_counter()
    found = cm.prove(robust.algorithm, robust.network, robust.alignment, variables=["left"], within=0.05, budget=LIMIT)
    seconds = perf_counter() - start
    (outcome,) = found.outcomes
    line("boxes of radius 0.05, left", outcome, seconds)
    return [Figure("boxes: open", float(outcome.undecided), 0, "of their volume"), Figure("boxes: time", seconds, 30, "s")]


def modular() -> list[Figure]:
    """A one-layer transformer that adds modulo 113: the sum in eight directions of its MLP, all 163 million pairs."""
    folder = Path(os.environ.get("MODULAR", ""))
    if not (folder / "model.safetensors").is_file():
        sys.exit("give the folder of the network of modular addition as MODULAR=PATH")
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    from modular_addition import MODULUS, decode, encode, load

    module = load(folder)
    network = cm.Network(module, encode=encode, decode=decode, name=folder.name)
    read = (module.blocks[0].mlp.W_out @ module.unembed.W_U[:, :MODULUS]).detach().double()
    angle = 2 * torch.pi * torch.arange(MODULUS).double() / MODULUS
    waves = torch.stack([wave(k * angle) for k in FREQUENCIES for wave in (torch.cos, torch.sin)], 1)
    directions = torch.linalg.qr(read @ waves).Q.float().contiguous()
    site = network.site("blocks.0.mlp.post", position=-1)
    alignment = cm.Alignment({"sum": cm.Feature(site, cm.Orthogonal(directions))})
    algorithm = cm.library.modular_addition(MODULUS)
    figures = []
    for method in ("refinement", "enumeration"):
        found, seconds = proved(algorithm, network, alignment, method=method)
        (outcome,) = found.outcomes
        line(f"modular addition: {method}", outcome, seconds)
        print(f"  IIA = {outcome.lower}" if not outcome.undecided else f"  {outcome.undecided:,} pairs undecided")
        figures.append(Figure(f"modular addition, {method}: time", seconds, 180, "s"))
        figures.append(Figure(f"modular addition, {method}: undecided", outcome.undecided, 0, "pairs"))
    return figures


def _plot(points: Sequence[tuple[int, int]]) -> None:
    """Bounds against pairs, on logarithmic axes, as `benchmarks/proofs.svg`."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(5.5, 3.6), layout="constrained")
    axes = drawing.add_subplot()
    pairs, work = zip(*points, strict=True)
    axes.loglog(pairs, pairs, color="#999999", linestyle="--", label="one evaluation a pair")
    axes.loglog(pairs, work, marker="o", color="#1f77b4", label="bounds and evaluations needed")
    for values, x, y in zip(SIZES, pairs, work, strict=True):
        axes.annotate(f"{values}", (x, y), textcoords="offset points", xytext=(4, 5), fontsize=8)
    axes.set_xlabel("pairs of a base and a source")
    axes.set_ylabel("work until all are decided")
    axes.legend(frameon=False)
    FigureCanvasSVG(drawing).print_svg(Path(__file__).with_name("proofs.svg"), metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
