"""The page of the faults, from the catalogue."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from docs.generate.markdown import NOTICE, table
from drills import faults
from drills.faults import Fault


def page() -> str:
    """Return the page."""
    invariants = [line.split(": ", 1) for line in (inspect.getdoc(faults) or "").splitlines() if line.startswith("L")]
    parts = [
        NOTICE,
        "# Faults",
        "Each fault is injected for real: a process is killed, a file cut, a socket stalled. A drill sends at least 30,000 requests on a\n"
        "clock meanwhile and prints how many failed (`python -m drills NAME`); the tests inject the same in short.",
        table(["Invariant", "What holds"], ([f"{number}", what] for number, what in invariants)),
        "## Pipeline",
        _faults(faults.PIPELINE),
        "## Serving",
        _faults(faults.SERVING),
    ]
    return "\n\n".join(parts) + "\n"


def _faults(entries: Iterable[Fault]) -> str:
    rows = (
        [str(entry.number), entry.injected, entry.invariant, _code(entry.drills), _code(_files(entry.tests))]
        for entry in entries
    )
    return table(["", "Injected", "What holds", "Drill", "Tests"], rows)


def _files(tests: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(f"tests/{test.split('::')[0]}" for test in tests))


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"
