"""`python -m bentos BUNDLE`: load a bundle as a worker does, and say why if it cannot be served."""

from __future__ import annotations

import sys
from pathlib import Path

from bentos.core import Core
from contract import command_line


def main(bundle: Path) -> int:
    """Load the bundle and return the exit code (see `contract.errors`)."""
    return command_line.run(lambda: _load(bundle), stopped="this bundle cannot be served")


def _load(bundle: Path) -> int:
    Core.load(bundle)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
