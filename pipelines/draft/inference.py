"""What a table of text looks like: kinds, ranges, missing tokens, identifiers, suspects; pure functions on a frame of text columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipelines.collect import times

MISSING = ("?", "NA", "N/A", "n/a", "null", "NULL", "None", "nan", "NaN", "#N/A")
_SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0)
_BOOLEANS = {"true", "false", "yes", "no", "1", "0"}
_PII_NAME = re.compile(
    r"(^|_)(name|surname|email|e_mail|phone|mobile|address|street|ssn|iban|ticket|birth)", re.IGNORECASE
)
_PII_VALUE = r"^[^@\s]+@[^@\s]+\.[a-zA-Z]+$"
_ID_NAME = re.compile(r"(^id$|_id$|Id$|ID$|^uuid|^instant$|number$)")
FEW, MANY = 20, 1000
_LEAK = 0.95


@dataclass
class Guess:
    """A column as params.yaml would declare it; `unsure` says what a person must decide."""

    name: str
    declared: dict[str, Any]
    values: pl.Series
    unsure: list[str] = field(default_factory=list)
    is_left_out: bool = False

    @property
    def kind(self) -> str:
        return str(self.declared["kind"])


def missing_tokens(table: pl.DataFrame) -> list[str]:
    """Which of the usual tokens for a missing value stand in the table."""
    found: set[str] = set()
    for column in table.get_columns():
        found |= set(column.filter(column.is_in(MISSING)).unique().to_list())
    return sorted(found)


def guess(column: pl.Series) -> Guess:
    """Kind, range and doubts of one column of text; null where a value is missing."""
    known = column.drop_nulls().str.strip_chars()
    numbers, distinct = known.cast(pl.Float64, strict=False), known.n_unique()
    share = column.null_count() / max(column.len(), 1)
    result = Guess(column.name, {"kind": "category"}, column.str.strip_chars())
    if known.is_empty() or (distinct == 1 and not share):
        result.is_left_out = True
        result.unsure.append("it says nothing: one value only")
    elif distinct <= 2 and set(known.str.to_lowercase()) <= _BOOLEANS:
        result.declared["kind"] = "boolean"
    elif not numbers.null_count():
        _guess_number(result, known, numbers, distinct)
    elif not known.to_frame().select(times.parse(pl.col(column.name), pl.String())).to_series().null_count():
        result.declared["kind"] = "timestamp"
    else:
        _guess_text(result, known, distinct)
    if share:
        result.declared |= {"required": False, "missing": min(1.0, round(share * 1.5 + 0.01, 2))}
        result.unsure.append(f"{share:.1%} are missing; `missing` allows half as many again")
    if _PII_NAME.search(column.name) or known.str.contains(_PII_VALUE).mean() > 0.5:  # type: ignore[operator]
        result.declared |= {"kind": "identifier", "pii": True}
        result.declared.pop("values", None)
        result.unsure.append("does it tell something about a person?")
    return result


def _guess_number(result: Guess, known: pl.Series, numbers: pl.Series, distinct: int) -> None:
    whole = bool((numbers % 1 == 0).all())
    if whole and distinct == known.len() and (_ID_NAME.search(result.name) or numbers.diff().drop_nulls().eq(1).all()):
        result.declared = {"kind": "identifier"}
        result.unsure.append("a number for every row: an identifier, and no feature")
        return
    low, high = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
    result.declared = {"kind": "number", "minimum": min(low, 0.0), "maximum": high, "tolerance": 0.01}
    result.unsure.append(f"the range is what was seen, {low:g} to {high:g}; say what is possible")
    if low in _SENTINELS and (numbers.filter(numbers != low) >= 0).all():
        result.unsure.append(f'does {low:g} mean that the value is missing? Then missing_values: ["{low:g}"]')
    if whole and 2 < distinct <= FEW // 2:
        result.unsure.append(f"{distinct} different whole numbers: are they codes? Then kind: category")


def _guess_text(result: Guess, known: pl.Series, distinct: int) -> None:
    if distinct > 0.9 * known.len() or distinct > MANY or (_ID_NAME.search(result.name) and distinct > FEW):
        result.declared = {"kind": "identifier"}
        result.unsure.append(f"{distinct} different values in {known.len()} rows: taken as an identifier")
    elif distinct <= FEW:
        result.declared["values"] = sorted(known.unique().to_list())
        result.declared["tolerance"] = 0.01
    if known.str.contains(r"^-?\d+,\d+$").mean() > 0.5:  # type: ignore[operator]
        result.unsure.append("numbers with a decimal comma? Then data.source.decimal: ','")
    elif known.str.contains(r"^\d{1,2}[./]\d{1,2}[./]\d{2,4}").mean() > 0.5:  # type: ignore[operator]
        result.unsure.append("times that are not ISO 8601? Then data.source.combine with their format")


def task_of(target: pl.Series) -> tuple[str, list[str]]:
    """The task, and its labels: the more frequent one is the negative one of two."""
    known = target.drop_nulls()
    counts = known.value_counts(sort=True)
    if known.n_unique() > FEW and not known.cast(pl.Float64, strict=False).null_count():
        return "regression", []
    labels = [str(label) for label in counts[known.name]]
    return ("binary", labels) if len(labels) == 2 else ("multiclass", sorted(labels))


def leak_suspects(guesses: list[Guess], target: pl.Series, task: str) -> dict[str, str]:
    """Columns that alone say nearly all about the target, and pairs that add up to it, with the reason."""
    reasons: dict[str, str] = {}
    numbers = {entry.name: entry.values.cast(pl.Float64, strict=False) for entry in guesses if entry.kind == "number"}
    outcome = target.cast(pl.Float64, strict=False) if task == "regression" else None
    for entry in guesses:
        strength = _strength(entry, target, outcome)
        if strength > _LEAK:
            reasons[entry.name] = f"alone it says {strength:.0%} of the target: is it known before the outcome?"
    if outcome is not None:
        names = list(numbers)
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                if ((numbers[first] + numbers[second]) == outcome).all():
                    reasons |= dict.fromkeys((first, second), f"{first} + {second} is the target")
    return reasons


def _strength(entry: Guess, target: pl.Series, outcome: pl.Series | None) -> float:
    """Rank correlation with a number; else the share of the majority's errors that the best guess by value (or decile) avoids."""
    if entry.kind not in ("number", "category", "boolean"):
        return 0.0
    values = entry.values.cast(pl.Float64, strict=False) if entry.kind == "number" else entry.values
    if outcome is not None:
        if entry.kind != "number":
            return 0.0
        ranks = pl.DataFrame({"a": values, "b": outcome}).drop_nulls()
        return abs(float(ranks.select(pl.corr("a", "b", method="spearman")).item() or 0.0))
    if entry.kind == "number":
        values = (values.rank("min") * 20 / values.len()).floor()
    groups = pl.DataFrame({"value": values, "target": target}).drop_nulls("target")
    counts = groups.group_by("value", "target").len().group_by("value").agg(pl.col("len").max())
    majority = float(groups["target"].value_counts()["count"].max())  # type: ignore[arg-type]
    return float((float(counts["len"].sum()) - majority) / max(groups.height - majority, 1.0))
