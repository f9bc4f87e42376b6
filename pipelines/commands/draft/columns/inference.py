"""Inference of a column of text: kind, range, categories, missing values, identifiers; pure functions on series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contract.schema.kinds import BOOLEAN_WORDS
from contract.schema.schema import Field
from pipelines.columns import identifiers, kinds
from pipelines.columns.identifiers import FEW, words
from pipelines.commands.draft.columns import pii, ranges, times
from pipelines.commands.draft.doubts import Doubt, Weight

_SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0)
# Last words of names of numbers that may be identifiers.
_NUMBERED = {*identifiers.ID_WORDS, "instant", "number", "no", "nr", "index"}
_MANY = 1000
_TOKENS = 3  # at most so many different words among numbers stand for missing values
_CATEGORY_ROWS = 20  # of the most frequent value: below, `features` may find no category with enough rows
_CATEGORY_SHARE = 0.35  # of distinct values in the rows: `features` refuses more than half of the training rows
_LEADING_ZERO = r"^0\d+$"
_THOUSANDS = (r"^-?\d{1,3}(,\d{3})+(\.\d+)?$", r"^-?\d{1,3}(\.\d{3})+,\d+$")
VALUE, CATEGORY = {"transform": "value"}, {"transform": "category"}


@dataclass
class Guess:
    """A drafted column.

    Attributes:
        values: numbers as float64, all others as text; null where a value is missing.
        doubts: questions for a person.
        useless: the reason to leave it out of the table; None to keep it.
        is_feature: if true, the model reads it.
        seen: the range of a number, in words.
    """

    name: str
    declared: dict[str, Any]
    values: pl.Series
    doubts: list[Doubt] = field(default_factory=list)
    useless: str | None = None
    is_feature: bool = True
    seen: str = ""

    @property
    def kind(self) -> str:
        """The declared kind."""
        return str(self.declared["kind"])

    def feature(self) -> dict[str, Any] | None:
        """Return the feature of the column's own name; None for an identifier, a time, or an unused column."""
        by_kind = {"number": VALUE, "boolean": VALUE, "category": CATEGORY}
        return by_kind.get(self.kind) if self.is_feature else None

    def ask(self, question: str, weight: Weight, **other_answer: Any) -> None:
        """Add a doubt; `other_answer` holds its other attributes."""
        self.doubts.append(Doubt(self.name, question, weight, **other_answer))


def numbers_of(column: pl.Series) -> pl.Series:
    """Return the numbers in a column of text, as `collect` reads them; null for other values."""
    return kinds.convert(column, Field(column.name, "number")).values


def guess(column: pl.Series) -> Guess:
    """Return kind, range and doubts of one column of text; null stands for a missing value."""
    result = Guess(column.name, {"kind": "category"}, column)
    known = column.drop_nulls()
    if known.is_empty() or (known.n_unique() == 1 and len(known) == len(column)):
        result.useless = "it has one value only" if len(known) else "it has no values"
    elif found := pii.pattern_of(known):
        _set_identifier(result, f"its values look like {found}: are they personal data?", pii=True)
    elif any(set(known.unique().str.to_lowercase()) <= set(pair) for pair in BOOLEAN_WORDS):
        result.declared["kind"] = "boolean"
        result.values = column.str.to_lowercase()
    elif _has_thousands(known):
        result.useless = (
            "its numbers have thousands separators, which are unsupported: write them without at the source"
        )
    elif known.str.contains(_LEADING_ZERO).any() and known.str.contains(r"^\d+$").all():
        _guess_code(result, known)
    elif not _guess_number(result, known):
        if times.is_iso(known):
            result.declared["kind"] = "timestamp"
        else:
            _guess_text(result, known)
    _guess_person(result, known)
    return result


def _has_thousands(known: pl.Series) -> bool:
    """Return whether some values are like 1,234.5 and all others are plain numbers."""
    plain = known.str.contains(r"^-?\d{1,3}(\.\d+)?$") | known.str.contains(r"^-?\d{1,3}(,\d+)?$")
    return any(
        bool(marked.any() and (marked | plain).all())
        for marked in (known.str.contains(pattern) for pattern in _THOUSANDS)
    )


def _guess_code(result: Guess, known: pl.Series) -> None:
    """Take digits with leading zeros, such as ZIP codes, as text: numbers would lose the zeros."""
    _guess_text(result, known)
    declared, _ = _as_number(result.name, numbers_of(known))
    result.ask(
        "some values begin with a zero, so they are taken as codes. Are they numbers? Then",
        Weight.VALUES,
        declared=_instead(declared),
        feature=VALUE,
        keys=_reviewed(result.name, numbers_of(known)),
    )


def are_numbers(read: pl.Series, words: int) -> bool:
    """Return whether a column holds numbers, null for one of a few words that may stand for missing values."""
    are_many = words > 1 and read.null_count() > len(read) / 2  # one word may stand in most rows
    return words == 0 or not (words > _TOKENS or are_many or read.n_unique() <= FEW)


def _guess_number(result: Guess, known: pl.Series) -> bool:
    """Return whether the values are numbers, but for a few words that may stand for missing values."""
    read = numbers_of(known)
    tokens = sorted(set(known.filter(read.is_null()).to_list()))
    if not are_numbers(read, len(tokens)):
        return False
    numbers = read.drop_nulls()
    declared, seen = _as_number(result.name, numbers)
    if reason := _identifier_reason(result.name, numbers):
        is_person = pii.is_of_a_person(result.name)
        _set_identifier(result, f"{reason}; taken as an identifier, so not a feature", pii=is_person)
        if not is_person:  # the other answer has a range, which would show two personal values
            result.doubts = []
            question = f"{reason}; taken as an identifier, so not a feature. Does it measure something? Then"
            result.ask(question, Weight.VALUES, declared=declared, feature=VALUE, keys=_reviewed(result.name, numbers))
        return True
    result.values = numbers_of(result.values)
    result.declared, result.seen = declared, seen
    _ask_about_numbers(result, numbers, tokens)
    return True


def _identifier_reason(name: str, numbers: pl.Series) -> str | None:
    """Return why numbers look like an identifier, to `screen` or by the column's name; None if they do not."""
    if reason := identifiers.reason(name, numbers.to_numpy()):
        return reason
    distinct, is_whole = numbers.n_unique(), bool((numbers % 1 == 0).all())
    if is_whole and distinct > FEW and words(name)[-1:] and words(name)[-1] in _NUMBERED:
        return f"{distinct:,} different numbers in {len(numbers):,} rows, and its name suggests a number of something"
    return None


def _as_number(name: str, numbers: pl.Series) -> tuple[dict[str, Any], str]:
    """Return the declaration of a number, and its range in words."""
    low, high = float(numbers.min() or 0.0), float(numbers.max() or 0.0)  # type: ignore[arg-type]
    bounds, seen = ranges.describe(name, low, high)
    return {"kind": "number", **bounds, "tolerance": 0.01}, seen


def _ask_about_numbers(result: Guess, numbers: pl.Series, tokens: list[str]) -> None:
    distinct = numbers.n_unique()
    if tokens:
        result.declared["missing_values"] = tokens
        question = f"numbers, except {', '.join(tokens)}, taken for missing values"
        if _fits_category(result.values.drop_nulls()):
            category = _instead({"kind": "category"})
            result.ask(f"{question}. Are they categories? Then", Weight.VALUES, declared=category, feature=CATEGORY)
        else:
            result.ask(f"{question}: is that right?", Weight.VALUES)
    low = numbers.min()
    rest = numbers.filter(numbers != low)
    if low in _SENTINELS and (rest >= 0).all() and len(rest):
        bounds, _ = ranges.describe(result.name, float(rest.min()), float(rest.max()))  # type: ignore[arg-type]
        result.declared |= bounds | {"minimum": low}
        more = {"required": False, "missing": None, "missing_values": [*tokens, f"{low:g}"]}
        question = (
            f"{1 - len(rest) / len(numbers):.1%} of the rows have {low:g}: does it stand for a missing value? Then"
        )
        result.ask(question, Weight.VALUES, strength=1.0, declared=bounds | more)
    if (numbers % 1 == 0).all() and 2 < distinct <= FEW // 2 and _fits_category(numbers):
        question = f"{distinct} different whole numbers: are they codes without an order? Then"
        result.ask(question, Weight.BOUNDS, declared=_instead({"kind": "category"}), feature=CATEGORY)


def _guess_text(result: Guess, known: pl.Series) -> None:
    distinct = known.n_unique()
    is_named = bool(words(result.name)) and words(result.name)[-1] in _NUMBERED
    if distinct > _MANY or (distinct > FEW and (is_named or distinct > len(known) / 2)) or distinct == len(known):
        _set_identifier(
            result, f"{distinct:,} different values in {len(known):,} rows; taken as an identifier, so not a feature"
        )
        if _fits_category(known):
            question = f"{result.doubts.pop().question}. Is it a property that new rows share? Then"
            result.ask(question, Weight.VALUES, declared={"kind": "category"}, feature=CATEGORY)
        return
    if distinct <= FEW:
        result.declared["values"] = sorted(set(known.to_list()))
        result.declared["tolerance"] = 0.01
    if known.str.contains(r"^-?\d+,\d+$").mean() > 0.5:  # type: ignore[operator]
        result.ask(
            "numbers with a decimal comma, in a table with decimal points elsewhere; taken as text: can the source write points?",
            Weight.VALUES,
        )


def _guess_person(result: Guess, known: pl.Series) -> None:
    """Mark a column with many values as personal data, if its name says so."""
    is_many = known.n_unique() > FEW or known.n_unique() == len(known)
    if result.useless or result.declared.get("pii") or not is_many:
        return
    if pii.is_personal_name(result.name):
        _set_identifier(result, "by its name: is it personal data?", pii=True)
    elif result.kind == "identifier" and pii.is_of_a_person(result.name):
        result.declared["pii"] = True


def _fits_category(known: pl.Series) -> bool:
    """Return whether `features` would accept the values as categories."""
    commonest = int(known.value_counts(name="__rows__")["__rows__"].max())  # type: ignore[arg-type]
    return known.n_unique() <= min(_CATEGORY_SHARE * len(known), _MANY) and commonest >= _CATEGORY_ROWS


def _instead(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes that replace the declaration of the column, except its share of missing values."""
    keys = ("values", "minimum", "maximum", "tolerance", "missing_values", "pii")
    return {**dict.fromkeys(keys), **declared}


def _reviewed(name: str, numbers: pl.Series) -> dict[str, Any]:
    return {"gates.reviewed": [name]} if identifiers.reason(name, numbers.to_numpy()) else {}


def _set_identifier(result: Guess, question: str, *, pii: bool = False) -> None:
    """Declare an identifier, and remove its values from the draft."""
    result.declared = {"kind": "identifier", "pii": True} if pii else {"kind": "identifier"}
    result.values, result.seen, result.doubts = result.values.cast(pl.String), "", []
    result.ask(question, Weight.VALUES)
