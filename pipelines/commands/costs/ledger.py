"""The processes in the ledger of costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.machine import usage

Outcome = Literal["succeeded", "failed", "killed", "running"]


@dataclass(frozen=True)
class Cost:
    """CPU and wall time, in seconds; `peak_mb` is the largest resident memory of one process, `gb_hours` memory times time."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    gb_hours: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu_s + other.cpu_s,
            self.wall_s + other.wall_s,
            max(self.peak_mb, other.peak_mb),
            self.gb_hours + other.gb_hours,
        )


@dataclass(frozen=True)
class Process:
    """One process of a stage: its run, when it started, what it was asked for (None: not by DVC), and its end."""

    run: str
    stage: str
    started: str
    targets: tuple[str, ...] | None
    cost: Cost
    outcome: Outcome


def read(path: Path) -> list[Process]:
    """Return the processes in the order of their starts; a torn line, which a power cut leaves, is left out."""
    entries: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for entry in _entries(path.read_text().splitlines() if path.is_file() else ()):
        first, _ = entries.get(entry["process"], (entry, entry))
        entries[entry["process"]] = first, entry
    return [_process(name, first, last) for name, (first, last) in entries.items()]


def _entries(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "process" in entry:
            yield entry


def _process(name: str, first: Mapping[str, Any], last: Mapping[str, Any]) -> Process:
    targets = first["targets"]
    hours = last["wall_s"] / 3600
    return Process(
        first["run"],
        first["stage"],
        first["at"],
        None if targets is None else tuple(targets),
        Cost(last["cpu_s"], last["wall_s"], last["peak_mb"], last["peak_mb"] / 1000 * hours),
        _outcome(name, last),
    )


def _outcome(name: str, last: Mapping[str, Any]) -> Outcome:
    if last["state"] == "ended":
        return "failed" if last["exit"] else "succeeded"
    try:
        alive = usage.process_name(int(name.rpartition("-")[2])) == name
    except FileNotFoundError:
        alive = False
    return "running" if alive else "killed"
