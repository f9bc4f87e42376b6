"""`python -m drills.score [DIRECTORY]`: print the ML Test Score of this checkout, from its tests and a run of its pipeline."""

from __future__ import annotations

import sys
from pathlib import Path

from contract import command_line
from drills.score import scoring, suites
from harness import PROJECT

SLICE = PROJECT / "var/test/slice"


def main(arguments: list[str] | None = None) -> int:
    """Print the score; return 0 whatever it is."""
    parser = command_line.parser(prog="python -m drills.score", description=__doc__)
    text = "where the pipeline has run (default: here, else var/test/slice)"
    parser.add_argument("directory", nargs="?", type=Path, help=text)
    place: Path = parser.parse_args(arguments).directory or (PROJECT if (PROJECT / "build/bundle").is_dir() else SLICE)
    if not (place / "build/bundle").is_dir():
        parser.error(f"no pipeline has run in {place}")
    print(f"evidence: {place}", flush=True)
    outcomes = suites.outcomes(scoring.selected(), place.resolve())
    print(scoring.text(scoring.scored(outcomes, place.resolve(), PROJECT / "docs")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
