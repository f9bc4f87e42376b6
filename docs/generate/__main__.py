"""`python -m docs.generate`: write the pages that are made from the code, and the tables of recorded figures."""

from __future__ import annotations

import sys
from collections.abc import Callable

from contract import command_line
from docs.generate import commands, faults, figures, params
from harness import PROJECT

PAGES: dict[str, Callable[[str], str]] = {
    "README.md": figures.filled,
    "docs/how-to/tune.md": params.with_spaces,
    "docs/reference/benchmarks.md": figures.filled,
    "docs/reference/commands.md": lambda _: commands.page(),
    "docs/reference/faults.md": lambda _: faults.page(),
    "docs/reference/params.md": lambda _: params.page(),
}


def main(arguments: list[str] | None = None) -> int:
    parser = command_line.parser(prog="python -m docs.generate", description=__doc__)
    text = "take the figures of benchmarks/results.json over; say when and on which machine they were measured"
    parser.add_argument("--record", metavar="MEASURED", help=text)
    measured = parser.parse_args(arguments).record
    if measured:
        print(f"{figures.record(measured)} figures recorded in {figures.RECORD.relative_to(PROJECT)}")
    for name in PAGES:
        path = PROJECT / name
        if (text := made(name)) != (path.read_text() if path.exists() else ""):
            path.write_text(text)
            print(name)
    return 0


def made(name: str) -> str:
    """Return a page as it should be."""
    path = PROJECT / name
    return PAGES[name](path.read_text() if path.exists() else "")


if __name__ == "__main__":
    sys.exit(main())
