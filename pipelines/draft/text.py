"""The draft as YAML, with a comment for everything that it was unsure of."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

from pipelines.draft import times
from pipelines.draft.assemble import Draft
from pipelines.draft.inference import Guess

_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
# What a line of YAML may not hold as it is, though JSON may.
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")


def render(draft: Draft) -> str:
    """`params.yaml`; every doubt is a line that begins with `# ?`, above what it is about."""
    safe = draft.safe
    lines = [
        "# A draft. Every line with `# ?` is for you to decide; docs/own-table.md explains every key.",
        f"name: {draft.name}",
        "",
        "data:",
        *_doubts(draft, "source", 2),
        *_left_out(draft),
        f"  source: {_flow(draft.source)}",
        *_doubts(draft, "months", 2),
        f"  months: {_flow(draft.months)}",
        *_doubts(draft, "time", 2),
        f"  time: {_flow(safe[draft.time] if draft.time else None)}",
        *_doubts(draft, "key", 2),
        f"  key: {_flow([safe[part] for part in draft.key])}",
        "  columns:",
        *(line for entry in draft.columns for line in _column(entry, safe)),
        "",
        *_doubts(draft, "target", 0),
        f"target: {_flow(draft.target)}",
        "",
        *_doubts(draft, "validate", 0),
        f"validate: {_flow(draft.bounds)}",
        "",
        *_doubts(draft, "split", 0),
        f"split: {_flow(draft.split)}",
        "",
        "features:",
        *_features(draft),
        "",
        "train: {seed: 1, max_depth: 6, learning_rate: 0.1, max_rounds: 500, early_stopping_rounds: 30}",
        "",
        "evaluate: {}",
        "",
        "gates: {}",
        "",
        "serving: {}",
    ]
    return "\n".join(lines) + "\n"


def _doubts(draft: Draft, section: str, indent: int) -> list[str]:
    return [_comment(doubt, indent) for doubt in draft.doubts.get(section, [])]


def _left_out(draft: Draft) -> list[str]:
    return [_comment(f"{name} is left out: {reason}", 2) for name, reason in draft.left_out.items()]


def _comment(doubt: str, indent: int) -> str:
    return f"{' ' * indent}# ? {_BREAKS.sub(' ', ' '.join(doubt.split()))}"


def _column(entry: Guess, safe: dict[str, str]) -> list[str]:
    return [
        *(_comment(f"{entry.name}: {doubt}", 4) for doubt in entry.unsure),
        f"    {_flow(safe[entry.name])}: {_flow(entry.declared)}",
    ]


def _features(draft: Draft) -> list[str]:
    features: dict[str, dict[str, Any]] = {}
    for entry in draft.columns:
        name = draft.safe[entry.name]
        if entry.kind in ("number", "boolean"):
            features[name] = {"transform": "value"}
        elif entry.kind == "category":
            features[name] = {"transform": "category"}
    for entry in draft.columns:
        if entry.kind == "timestamp":
            name = draft.safe[entry.name]
            for part in _parts(entry.values):
                features.setdefault(f"{name}_{part}", {"transform": "calendar", "input": name, "part": part})
    return [f"  {_flow(name)}: {_flow(feature)}" for name, feature in features.items()]


def _parts(values: pl.Series) -> tuple[str, ...]:
    has_hours = (times.moments(values).dt.time().cast(pl.Int64) != 0).any()
    return ("hour", "weekday") if has_hours else ("weekday", "month")


def _flow(value: Any) -> str:
    """A value in YAML on one line; text that is no plain word is quoted as in JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", value)
        and value.lower() not in _WORDS_OF_YAML
    ):
        return value
    return _BREAKS.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
