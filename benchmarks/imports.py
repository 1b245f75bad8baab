"""What it costs to start: `python -m benchmarks.imports`."""

import sys
from statistics import median

from benchmarks.bars import Figure, report, seconds

RUNS = 7


def main() -> int:
    """Import the package and torch in turn, and ask for help."""
    python = [sys.executable, "-c"]
    package, everything, torch, help_ = [], [], [], []
    for _ in range(RUNS):
        torch.append(seconds([*python, "import torch"]))
        package.append(seconds([*python, "import commute"]))
        everything.append(seconds([*python, "import commute as cm; [getattr(cm, n) for n in cm.__all__]"]))
        help_.append(seconds([sys.executable, "-m", "commute", "--help"]))
    return report(
        [
            Figure("import commute, against import torch", median(package) / median(torch), 1.2, "times"),
            Figure("every public name, against import torch", median(everything) / median(torch), 1.2, "times"),
            Figure("commute --help", median(help_), 0.5, "s"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
