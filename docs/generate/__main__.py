"""`python -m docs.generate [--check]`: write the pages that are made from the code and from recorded figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from docs.generate import faults, params

REFERENCE = Path(__file__).parents[1] / "reference"
PAGES: dict[str, Callable[[], str]] = {"faults.md": faults.page, "params.md": params.page}


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them; return 1 where `--check` found one out of date."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    check = parser.parse_args(arguments).check
    stale = [name for name, page in PAGES.items() if _text(name) != page()]
    for name in stale:
        print(f"docs/reference/{name} is out of date: run `make docs`" if check else f"docs/reference/{name}")
        if not check:
            (REFERENCE / name).write_text(PAGES[name]())
    return 1 if check and stale else 0


def _text(name: str) -> str | None:
    path = REFERENCE / name
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
