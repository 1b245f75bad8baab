"""Whole claims, search and controls included: `python -m benchmarks.claims [FOLDER OF NETWORKS]`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bars import Figure, report, seconds

ROOT = Path(__file__).parents[1]
NETWORKS = ("apollo_modadd113_seed0", "apollo_modadd113_seed2")


def main() -> int:
    """Time the demo, and the modular addition claim on each network where they are there."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "models"
    commute = [sys.executable, "-m", "commute"]
    with TemporaryDirectory() as runs:
        figures = [Figure("demo", seconds([*commute, "demo", "--runs", runs]), 180, "s")]
        for name in NETWORKS:
            if not (folder / name).is_dir():
                print(f"     {name} is not in {folder}; not measured")
                continue
            example = [*commute, "run", str(ROOT / "examples" / "modular_addition.py"), "-P", f"folder={folder / name}"]
            figures.append(Figure(f"modular addition, {name}", seconds([*example, "--runs", runs]), 60, "s"))
    return report(figures)


if __name__ == "__main__":
    sys.exit(main())
