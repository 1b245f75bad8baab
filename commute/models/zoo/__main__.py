"""Train the zoo's networks anew: `python -m commute.models.zoo train hierarchical_equality --values 8 --seed 0 --to DIR`."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save
from torch import nn

from commute.models.zoo import training

TRAINERS: dict[str, Callable[..., tuple[nn.Module, dict[str, Any]]]] = {
    "hierarchical_equality": training.hierarchical_equality,
    "induction": training.induction,
}


@click.group()
def main() -> None:
    """Networks that ship with commute."""


@main.command()
@click.argument("name", type=click.Choice(sorted(TRAINERS)))
@click.option("--values", default=8, show_default=True, type=click.IntRange(2), help="Values of an object, or tokens.")
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=3000, show_default=True)
@click.option("--to", default=Path(), type=click.Path(file_okay=False, path_type=Path), help="Folder to write to.")
def train(name: str, values: int, seed: int, steps: int, to: Path) -> None:
    """Train the network NAME and write NAME_VALUES.safetensors and NAME_VALUES.json."""
    torch.set_num_threads(1)  # sums in another order give other weights
    module, record = TRAINERS[name](values, seed=seed, steps=steps)
    weights, file = save(module.state_dict()), f"{name}_{values}"
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{file}.safetensors").write_bytes(weights)
    (to / f"{file}.json").write_text(json.dumps({**record, "sha256": sha256(weights).hexdigest()}, indent=2) + "\n")
    click.echo(f"{file}: accuracy {record['accuracy']:.4f} on {record['inputs']} inputs, written to {to}")


if __name__ == "__main__":
    main()
