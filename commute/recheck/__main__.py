"""`python -m commute.recheck DIR [--network FILE]`: exits 0 where the certificate is accepted, 1 where it is rejected."""

import argparse
import sys

from commute.recheck import Rejected, recheck


def main() -> int:
    """Recheck the certificate in a folder."""
    parser = argparse.ArgumentParser(prog="python -m commute.recheck", description="Derive every claim of a certificate again.")
    parser.add_argument("folder", help="with certificate.json and certificate.safetensors")
    parser.add_argument(
        "--network", help="a safetensors file of the network's state dict, to hold against the certificate's digest"
    )
    given = parser.parse_args()
    try:
        sys.stdout.write(f"{recheck(given.folder, given.network)}\n")
    except Rejected as error:
        sys.stderr.write(f"rejected: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
