"""Train the zoo's networks anew: `python -m commute.models.zoo train hierarchical_equality --seed 0 --to DIR`."""

import json
from hashlib import sha256
from pathlib import Path

import click
import torch
from safetensors.torch import save

from commute.models.zoo.equality import train as train_hierarchical_equality

TRAINERS = {"hierarchical_equality": train_hierarchical_equality}


@click.group()
def main() -> None:
    """Networks that ship with commute."""


@main.command()
@click.argument("name", type=click.Choice(sorted(TRAINERS)))
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=3000, show_default=True)
@click.option("--to", default=Path(), type=click.Path(file_okay=False, path_type=Path), help="Folder to write to.")
def train(name: str, seed: int, steps: int, to: Path) -> None:
    """Train the network NAME and write NAME.safetensors and NAME.json."""
    torch.set_num_threads(1)  # sums in another order give other weights
    module, record = TRAINERS[name](seed=seed, steps=steps)
    weights = save(module.state_dict())
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{name}.safetensors").write_bytes(weights)
    (to / f"{name}.json").write_text(json.dumps({**record, "sha256": sha256(weights).hexdigest()}, indent=2) + "\n")
    click.echo(f"{name}: accuracy {record['accuracy']:.4f} on all {record['inputs']} inputs, written to {to}")


if __name__ == "__main__":
    main()
