"""The draft as YAML, with a comment for every doubt."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

from pipelines.commands.draft.assemble import Draft
from pipelines.commands.draft.columns import times
from pipelines.commands.draft.columns.inference import Guess
from pipelines.commands.draft.doubts import Doubt, Weight

_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
# Unescaped characters that JSON allows and YAML does not.
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
_HEAD = (
    "# A draft. Below are the questions that the table leaves open, most important first; docs/reference/params.md has every key.",
    "# Lines under a question are the other answer: each is a key with its whole value; a key without a value is to be removed.",
)
_HEADINGS = {
    Weight.FIGURES: "A wrong answer makes every figure wrong:",
    Weight.VALUES: "A wrong answer loses or misreads values:",
    Weight.BOUNDS: "A wrong answer refuses later months or requests, or costs a little:",
}


def render(draft: Draft) -> str:
    """Return `params.yaml` with a line `# ?` for every doubt, and below it the lines for the other answer."""
    columns = [f"    {_flow(entry.name)}: {_flow(entry.declared)}{_seen(entry)}" for entry in draft.columns]
    features = [f"  {_flow(name)}: {_flow(feature)}" for name, feature in _features(draft).items()]
    lines = [
        *_HEAD,
        *_doubts(draft),
        f"name: {draft.name}",
        "",
        "data:",
        f"  source: {_flow(draft.source)}",
        f"  months: {_flow(draft.months)}",
        f"  time: {_flow(draft.time)}",
        f"  key: {_flow(draft.key)}",
        "  columns:",
        *columns,
        "",
        f"target: {_flow(draft.target)}",
        "",
        f"validate: {_flow(draft.bounds)}",
        "",
        f"split: {_flow(draft.split)}",
        "",
        "features:",
        *features,
        "",
        "train: {seed: 1, max_depth: 6, learning_rate: 0.1, max_rounds: 500, early_stopping_rounds: 30}",
        "",
        "tune: {}",
        "",
        "evaluate: {}",
        "",
        "gates: {}",
        "",
        "serving: {}",
    ]
    return "\n".join(lines) + "\n"


def _doubts(draft: Draft) -> list[str]:
    lines: list[str] = []
    for weight, heading in _HEADINGS.items():
        doubts = [doubt for doubt in draft.doubts if doubt.weight is weight]
        lines += ["#", f"# {heading}", *(line for doubt in doubts for line in _doubt(draft, doubt))] if doubts else []
    return [*lines, ""]


def _doubt(draft: Draft, doubt: Doubt) -> list[str]:
    other = other_answer(draft, doubt)
    lines = [_comment(f"# ? {doubt.about}: {doubt.question}{':' if other else ''}")]
    return lines + [f"#     {key}:{'' if value is None else ' ' + _flow(value)}" for key, value in other.items()]


def other_answer(draft: Draft, doubt: Doubt) -> dict[str, Any]:
    """Return the keys of params.yaml and their values for the other answer; None removes a key."""
    other: dict[str, Any] = {}
    if doubt.declared:
        of_columns = {f"data.columns.{entry.name}": entry.declared for entry in draft.columns}
        key = doubt.about if doubt.about == "target" else f"data.columns.{doubt.about}"
        declared = {**(of_columns | {"target": draft.target})[key], **doubt.declared}
        other[key] = {name: value for name, value in declared.items() if value is not None}
    if doubt.feature is None:
        reading = [name for name, feature in _features(draft).items() if doubt.about in (name, feature.get("input"))]
        other |= {f"features.{name}": None for name in reading}
    elif doubt.feature:
        other[f"features.{doubt.about}"] = dict(doubt.feature)
    return {**other, **doubt.keys}


def _comment(text: str) -> str:
    return _BREAKS.sub(" ", " ".join(text.split()))


def _seen(entry: Guess) -> str:
    return f"  # {entry.seen}" if entry.seen else ""


def _features(draft: Draft) -> dict[str, dict[str, Any]]:
    features = {entry.name: feature for entry in draft.columns if (feature := entry.feature())}
    for entry in draft.columns:
        if entry.kind == "timestamp":
            for part in _parts(entry.values):
                features.setdefault(
                    f"{entry.name}_{part}", {"transform": "calendar", "input": entry.name, "part": part}
                )
    return features


def _parts(values: pl.Series) -> tuple[str, ...]:
    has_hours = (times.moments(values).dt.time().cast(pl.Int64) != 0).any()
    return ("hour", "weekday") if has_hours else ("weekday", "month")


def _flow(value: Any) -> str:
    """Return a value as YAML on one line; text is quoted as in JSON unless it is a plain word."""
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
