"""`python -m drills [--requests N] [--seed S]`: inject faults, print the counts, write drills/results.json; ends with 1 if one won."""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks.bundles import find
from drills import requests, results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="hostile requests to send (default: 100,000)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the hostile requests: the same seed makes the same ones"
    )
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    found = requests.hostile(find(), asked.requests, asked.seed)
    results.write(found)
    print(f"\n{results.table(found)}\n\nwritten to {results.FILE}")
    return 0 if all(entry.holds for entry in found) else 1


if __name__ == "__main__":
    sys.exit(main())
