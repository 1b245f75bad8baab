"""What it costs to start: `python -m benchmarks.imports`."""

import sys
from statistics import median

from benchmarks.bars import Figure, report, seconds

RUNS = 11


def main() -> int:
    """Import torch, the package and all of its names in turn; the ratios are taken run by run, since a machine's speed drifts."""
    python = [sys.executable, "-c"]
    package, everything, help_ = [], [], []
    for _ in range(RUNS):
        torch = seconds([*python, "import torch"])
        package.append(seconds([*python, "import commute"]) / torch)
        everything.append(seconds([*python, "import commute as cm; [getattr(cm, n) for n in cm.__all__]"]) / torch)
        help_.append(seconds([sys.executable, "-m", "commute", "--help"]))
    return report(
        [
            Figure("import commute, against import torch", median(package), 1.2, "times"),
            Figure("every public name, against import torch", median(everything), 1.2, "times"),
            Figure("commute --help", median(help_), 0.5, "s"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
