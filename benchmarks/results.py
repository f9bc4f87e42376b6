"""Results of benchmarks: figures with peer, ratio and bar; as text, and as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from contract.files import canonical_json, write_atomically

FILE = Path(__file__).with_name("results.json")
COMMAND = ".venv/pipeline/bin/python -m benchmarks"


class OtherWorkError(Exception):
    """The two sides of a comparison did different work, so it says nothing."""


@dataclass(frozen=True)
class Bar:
    """A required bound on the ratio, or on the value itself."""

    sense: Literal["≤", "≥"]
    limit: float
    of: Literal["ratio", "value"] = "ratio"

    def holds(self, measured: float) -> bool:
        """Tell whether a measured value is within the bound."""
        return measured <= self.limit if self.sense == "≤" else measured >= self.limit

    def text(self, unit: str) -> str:
        """Return the bound as text, such as `≥ 0.9×`."""
        return f"{self.sense} {self.limit:g}" + (f" {unit}" if self.of == "value" else "×")


@dataclass(frozen=True)
class Figure:
    """One line of the results.

    Attributes:
        value: ours, in `unit`.
        against: the peer or limit, with its value.
        ratio: ours over the peer's; None without a peer.
        bar: the required bound, as text; None where there is none, and then `holds` is None too.
        command: the command that measures this figure.
    """

    name: str
    value: float
    unit: str
    against: str
    ratio: float | None
    bar: str | None
    holds: bool | None
    command: str


def figure(
    name: str, value: float, unit: str, *, peer: str, peer_value: float, benchmark: str, bar: Bar | None = None
) -> Figure:
    """Return the figure `value` beside a peer's `peer_value` in the same unit.

    Raises:
        ValueError: the peer's value is not positive; there is no ratio to it.
    """
    if not peer_value > 0:
        raise ValueError(f"{name}: the peer {peer!r} measured {peer_value}, so there is no ratio to it")
    ratio = value / peer_value
    return Figure(
        name=name,
        value=value,
        unit=unit,
        against=f"{peer}: {number(peer_value)} {unit}",
        ratio=ratio,
        bar=bar.text(unit) if bar else None,
        holds=bar.holds(ratio if bar.of == "ratio" else value) if bar else None,
        command=f"{COMMAND} {benchmark}",
    )


def figures(benchmark: str, *rows: tuple[str, float, str, str, float, Bar | None]) -> list[Figure]:
    """Return figures of rows: name, value, unit, peer, the peer's value, bar."""
    return [
        figure(name, value, unit, peer=peer, peer_value=peer_value, bar=bar, benchmark=benchmark)
        for name, value, unit, peer, peer_value, bar in rows
    ]


def number(value: float) -> str:
    """Return a number with three significant digits or more, and no exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned text."""
    rows = [("figure", "ours", "ratio", "against", "bar", "holds")]
    words = {True: "yes", False: "NO", None: ""}
    for entry in figures:
        ratio = "" if entry.ratio is None else f"{entry.ratio:.2f}×"
        ours = f"{number(entry.value)} {entry.unit}"
        rows.append((entry.name, ours, ratio, entry.against, entry.bar or "", words[entry.holds]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def merged(stored: Sequence[dict[str, Any]], measured: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return the stored figures, the measured ones in place of those of the same name, new ones last."""
    fresh = {entry.name: asdict(entry) for entry in measured}
    kept = [fresh.pop(entry["name"], entry) for entry in stored]
    return [*kept, *fresh.values()]


def write(measured: Sequence[Figure], *, keep_others: bool, path: Path = FILE) -> None:
    """Write the results; with `keep_others`, keep the figures that were not measured."""
    stored = json.loads(path.read_bytes()) if keep_others and path.is_file() else []
    write_atomically(path, canonical_json(merged(stored, measured)))
