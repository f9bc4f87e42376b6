"""The draft as YAML, with a comment for everything that it was unsure of."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

from pipelines.collect import times
from pipelines.draft import inference
from pipelines.draft.inference import Guess


def render(table: pl.DataFrame, source: dict[str, Any], name: str, target: str, time: str | None) -> str:
    """`params.yaml` for a table of text columns, null where a value is missing."""
    guesses = [inference.guess(column) for column in table.get_columns() if column.name != target]
    outcome = table[target].str.strip_chars()
    task, labels = inference.task_of(outcome)
    suspects = inference.leak_suspects(guesses, outcome, task)
    kept = [entry for entry in guesses if not entry.is_left_out and entry.name not in suspects]
    rename = {entry.name: _safe(entry.name) for entry in kept if entry.name != _safe(entry.name)}
    months, sizes = _months(table, time)
    drop = [entry.name for entry in guesses if entry not in kept]
    source |= {"drop": drop} if drop else {}
    source |= {"rename": rename} if rename else {}
    key, unsure_key = _key(table, kept, time)
    rate = float((outcome == labels[1]).sum() / outcome.len()) if task == "binary" else None
    lines = [
        "# A draft: read every line that ends in a question, then delete this one.",
        f"name: {_safe(name)}",
        "",
        "data:",
        f"  source: {_flow(source)}",
        *(f"    # {left}: left out: {_why(left, guesses, suspects)}" for left in drop),
        f"  months: {_flow(months)}",
        *([f"  time: {_safe(time)}"] if time else []),
        f"  key: {_flow([rename.get(part, part) for part in key])}{unsure_key}",
        "  columns:",
        *(_column(entry, rename, time) for entry in kept),
        "",
        f"target: {_flow(_target(target, task, labels, outcome))}{_unsure_target(task)}",
        "",
        f"validate: {_flow(_bounds(sizes, rate))}  # half and double of what was seen: what is possible?",
        "",
        "split: {kind: temporal, holdout: 1mo, validation: 10d}"
        if len(months) > 1
        else "split: {kind: stratified, holdout: 0.2, validation: 0.15, seed: 1}  # do rows belong together? Then kind: grouped",
        "",
        "features:",
        *(line for entry in kept for line in _features(entry, rename)),
        "",
        "train: {seed: 1, max_depth: 6, learning_rate: 0.1, max_rounds: 500, early_stopping_rounds: 30}",
        "evaluate: {}",
        "gates: {}",
        "serving: {}",
    ]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value in YAML on one line: JSON is YAML; plain keys read better."""
    return re.sub(r'"([A-Za-z_][A-Za-z0-9_]*)": ', r"\1: ", json.dumps(value, ensure_ascii=False))


def _safe(name: str) -> str:
    return re.sub(r"^(?=[^A-Za-z_])", "_", re.sub(r"[^A-Za-z0-9_.-]", "_", name))[:100]


def _why(name: str, guesses: list[Guess], suspects: dict[str, str]) -> str:
    return suspects.get(name) or "; ".join(entry.unsure[0] for entry in guesses if entry.name == name)


def _months(table: pl.DataFrame, time: str | None) -> tuple[list[str], list[int]]:
    if time is None:
        return ["all"], [table.height]
    moments = table.select(times.parse(pl.col(time), pl.String())).to_series()
    counts = moments.dt.strftime("%Y-%m").drop_nulls().value_counts().sort(time)
    return counts[time].to_list(), counts["count"].to_list()


def _key(table: pl.DataFrame, kept: list[Guess], time: str | None) -> tuple[list[str], str]:
    identifiers = [entry.name for entry in kept if entry.kind == "identifier" and not entry.values.null_count()]
    candidates = [[name] for name in identifiers] + ([[time], [time, *identifiers]] if time else [])
    for columns in candidates:
        if table.select(columns).n_unique() == table.height:
            return columns, "  # no two rows share it: is that so by its meaning?"
    if time is None:
        return [], "  # nothing tells rows apart: is there no identifier?"
    return [entry.name for entry in kept], "  # no few columns tell rows apart: which ones should?"


def _column(entry: Guess, rename: dict[str, str], time: str | None) -> str:
    declared = dict(entry.declared)
    if entry.name == time:
        declared = {"kind": "timestamp"}
    comment = f"  # {'; '.join(entry.unsure)}" if entry.unsure and entry.name != time else ""
    return f"    {rename.get(entry.name, entry.name)}: {_flow(declared)}{comment}"


def _target(target: str, task: str, labels: list[str], outcome: pl.Series) -> dict[str, Any]:
    declared: dict[str, Any] = {"column": target, "task": task}
    if labels:
        declared["labels"] = labels
    if outcome.null_count():
        declared["missing"] = min(1.0, round(outcome.null_count() / outcome.len() * 1.5 + 0.01, 2))
    return declared


def _unsure_target(task: str) -> str:
    return (
        "  # the second label is the positive one: is it the rarer one that is asked for?" if task == "binary" else ""
    )


def _bounds(sizes: list[int], rate: float | None) -> dict[str, Any]:
    bounds: dict[str, Any] = {"rows": [max(1, min(sizes) // 2), max(sizes) * 2]}
    if rate is not None:
        bounds["positive_rate"] = [round(rate / 2, 3), round(min(1.0, rate * 2), 3)]
    return bounds


def _features(entry: Guess, rename: dict[str, str]) -> list[str]:
    name = rename.get(entry.name, entry.name)
    if entry.kind in ("number", "boolean"):
        return [f"  {name}: {{transform: value}}"]
    if entry.kind == "category":
        rare = "" if "values" in entry.declared else ", minimum_count: 10"
        return [f"  {name}: {{transform: category{rare}}}"]
    if entry.kind == "timestamp":
        parts = ("hour", "weekday")
        return [f"  {name}_{part}: {{transform: calendar, input: {name}, part: {part}}}" for part in parts]
    return []
