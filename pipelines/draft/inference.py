"""What a column of text looks like: kind, range, categories, missing values, identifiers; pure functions on series of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipelines.draft import pii, times

_SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0)
_BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"1", "0"})
_ID_WORDS = {"id", "ids", "uuid", "guid", "instant", "number", "no", "nr", "index"}
FEW, MANY = 20, 1000
_TOKENS = 3  # as many different words among numbers may mean that one is missing


@dataclass
class Guess:
    """A column as params.yaml would declare it.

    Attributes:
        values: numbers as float64, all others as text; null where a value is missing.
        unsure: what a person must decide.
        is_left_out: it is of no use, and `unsure` says why.
    """

    name: str
    declared: dict[str, Any]
    values: pl.Series
    unsure: list[str] = field(default_factory=list)
    is_left_out: bool = False

    @property
    def kind(self) -> str:
        return str(self.declared["kind"])


def guess(column: pl.Series) -> Guess:
    """Kind, range and doubts of one column of text; null where a value is missing."""
    result = Guess(column.name, {"kind": "category"}, column)
    known = column.drop_nulls().str.strip_chars()
    if known.is_empty() or (known.n_unique() == 1 and len(known) == len(column)):
        result.is_left_out = True
        result.unsure.append("it says nothing: one value only" if len(known) else "it says nothing: no value at all")
    elif found := pii.pattern_of(known):
        _set_identifier(result, f"its values look like {found}: do they tell something about a person?", pii=True)
    elif known.n_unique() <= 2 and any(set(known.str.to_lowercase()) <= words for words in _BOOLEANS):
        result.declared["kind"] = "boolean"
        result.values = column.str.strip_chars().str.to_lowercase()
    elif _guess_number(result, known) or times.is_iso(known):
        if result.kind == "category":
            result.declared["kind"] = "timestamp"
    else:
        _guess_text(result, known)
    if _names_many(known) and pii.is_personal_name(column.name) and not result.declared.get("pii"):
        _set_identifier(result, "by its name: does it tell something about a person?", pii=True)
    return result


def _guess_number(result: Guess, known: pl.Series) -> bool:
    """Whether they are numbers, but for a few words that may stand for missing values."""
    numbers = known.cast(pl.Float64, strict=False)
    words = known.filter(numbers.is_null())
    if len(words) and (words.n_unique() > _TOKENS or len(words) > len(known) / 2 or numbers.n_unique() <= FEW):
        return False
    numbers, distinct = numbers.drop_nulls(), known.n_unique()
    whole = bool((numbers % 1 == 0).all())
    is_named = bool(pii.words(result.name) and pii.words(result.name)[-1] in _ID_WORDS)
    if not len(words) and whole and distinct == len(known) and (is_named or (numbers.diff().drop_nulls() == 1).all()):
        _set_identifier(result, "a number for every row: taken as an identifier, and no feature")
        return True
    if whole and is_named and distinct > FEW:
        _set_identifier(
            result, f"{distinct} different numbers in {len(known)} rows: taken as an identifier by its name"
        )
        return True
    result.values = result.values.str.strip_chars().cast(pl.Float64, strict=False)
    finite = numbers.filter(numbers.is_finite())
    low, high = float(finite.min() or 0.0), float(finite.max() or 0.0)  # type: ignore[arg-type]
    result.declared = {"kind": "number", "minimum": min(low, 0.0), "maximum": high, "tolerance": 0.01}
    result.unsure.append(f"the range is what was seen, {low:.12g} to {high:.12g}: what is possible?")
    if len(words):
        tokens = sorted(set(words.to_list()))
        result.declared["missing_values"] = tokens
        result.unsure.append(f"numbers, but for {', '.join(tokens)}: does that mean that the value is missing?")
    if len(finite) < len(numbers):
        result.unsure.append(
            f"{len(numbers) - len(finite)} values are infinite, which is out of range: what do they mean?"
        )
    if low in _SENTINELS and (finite.filter(finite != low) >= 0).all():
        result.unsure.append(f'does {low:g} mean that the value is missing? Then missing_values: ["{low:g}"]')
    if whole and 2 < distinct <= FEW // 2:
        result.unsure.append(f"{distinct} different whole numbers: are they codes? Then kind: category")
    return True


def _guess_text(result: Guess, known: pl.Series) -> None:
    distinct, written = known.n_unique(), result.values.drop_nulls()
    is_named = bool(pii.words(result.name) and pii.words(result.name)[-1] in _ID_WORDS)
    if distinct > MANY or (distinct > FEW and (is_named or distinct > len(known) / 2)) or distinct == len(known):
        reason = f"{distinct} different values in {len(known)} rows: taken as an identifier, and no feature"
        _set_identifier(result, reason)
        return
    if distinct <= FEW:
        result.declared["values"] = sorted(set(written.to_list()))
        result.declared["tolerance"] = 0.01
    if (written.str.len_chars() > written.str.strip_chars().str.len_chars()).any():
        result.unsure.append("some values begin or end with a blank, which is a part of them: is it meant?")
    if known.str.contains(r"^-?\d+,\d+$").mean() > 0.5:  # type: ignore[operator]
        result.unsure.append("numbers with a decimal comma? Then data.source.decimal: ','")


def _names_many(known: pl.Series) -> bool:
    return known.n_unique() > FEW or known.n_unique() == len(known)


def _set_identifier(result: Guess, reason: str, **more: bool) -> None:
    """No value of it may be seen in the draft."""
    result.declared = {"kind": "identifier", **more}
    result.values = result.values.cast(pl.String)
    result.unsure = [reason]
