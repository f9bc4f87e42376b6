"""The page of promises has each fault of serving, once, with a command that injects it and the figure that it gave."""

from __future__ import annotations

import re

from drills.faults import SERVING
from harness import PROJECT

PAGE = PROJECT / "docs" / "explanation" / "reliability.md"
ROW = re.compile(r"^\| (\d+): [^|]+ \| [^|]+ \| `([^`|]+)` \| ([^|]+) \|$", re.MULTILINE)


def test_every_fault_of_serving_has_a_promise_a_command_and_a_figure() -> None:
    rows = ROW.findall(PAGE.read_text().partition("## Faults\n")[2].partition("\n## ")[0])
    assert [int(number) for number, _, _ in rows] == [fault.number for fault in SERVING]
    for fault, (_, command, figure) in zip(SERVING, rows, strict=True):
        assert command.removeprefix("python -m drills ") in fault.drills, fault.number
        assert re.search(r"\d", figure) or figure == "not measured yet", fault.number


def test_commands_of_latency_and_availability_are_drills_or_benchmarks() -> None:
    section = PAGE.read_text().partition("## Faults")[0]
    shown = re.findall(r"^\| [^|]+ \| `([^`|]+)`[^|]* \| [^|]*\d[^|]* \|$", section, re.MULTILINE)
    known = set(re.findall(r'^    "(\w+)": lambda', (PROJECT / "drills" / "__main__.py").read_text(), re.MULTILINE))
    assert len(shown) >= 2
    for command in shown:
        assert command == "make bench" or command.removeprefix("python -m drills ") in known
