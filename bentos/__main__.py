"""`python -m bentos BUNDLE`: load a bundle as a worker does, and say why if it cannot be served."""

from __future__ import annotations

import sys
from pathlib import Path

from bentos.core import Core
from contract.errors import BundleError


def main(bundle: Path) -> int:
    try:
        Core.load(bundle)
    except BundleError as error:
        print(f"this bundle cannot be served: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
