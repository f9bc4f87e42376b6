"""Golden requests: made from the schema (ranges, categories, gaps), never rows of the data, with the judged artifact's answers."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from contract.model.predictor import Predictor
from contract.schema import timestamps
from contract.schema.schema import FeatureSchema, Field
from contract.schema.texts import missing_numbers

_COUNT = 32
_SPAN_DAYS = 365
_SPAN_START = datetime(2024, 1, 1)
UNKNOWN = "no such category"


def golden_cases(predictor: Predictor, count: int = _COUNT) -> list[dict[str, Any]]:
    """`row` and `answer` of each golden request. The first is complete; later ones have gaps and unknown categories."""
    rows = golden_rows(predictor.schema, count)
    return [{"row": row, "answer": answer} for row, answer in zip(rows, predictor.predict(rows), strict=True)]


def golden_rows(schema: FeatureSchema, count: int) -> list[dict[str, Any]]:
    """Rows that the schema allows; the same schema gives the same rows."""
    random = Random(schema.name)  # noqa: S311 - reproducible examples, no secret
    known = _known_categories(schema)
    return [_row(schema, known, random, complete=index == 0) for index in range(count)]


def _row(schema: FeatureSchema, known: dict[str, list[str]], random: Random, *, complete: bool) -> dict[str, Any]:
    row = {}
    for field in schema.fields:
        if not complete and not field.required and random.random() < 0.25:
            continue
        row[field.name] = _value(field, known.get(field.name, []), random, allow_unknown=not complete)
    return row


def _value(field: Field, known: list[str], random: Random, *, allow_unknown: bool) -> Any:
    if field.kind == "boolean":
        return random.random() < 0.5
    if field.kind == "timestamp":
        return _moment(field, _SPAN_START + timedelta(minutes=random.randrange(_SPAN_DAYS * 1440)))
    if field.kind == "category":
        return UNKNOWN if not known or (allow_unknown and random.random() < 0.1) else random.choice(known)
    return _number(field, random)


def _moment(field: Field, at: datetime) -> Any:
    """The moment as the schema wants it written."""
    if field.unit == timestamps.CALENDAR_DAY:
        return int(at.strftime("%Y%m%d"))
    if field.unit is not None:
        return (at - datetime(1970, 1, 1)) // timedelta(microseconds=timestamps.EPOCH_UNITS[field.unit])
    return at.isoformat(timespec="minutes") + ("Z" if field.zone else "")


def _number(field: Field, random: Random) -> float:
    missing = missing_numbers(field)
    return next(number for number in iter(lambda: _any_number(field, random), None) if number not in missing)


def _any_number(field: Field, random: Random) -> float:
    low = field.minimum if field.minimum is not None else min(0.0, (field.maximum or 0.0) - 100.0)
    high = field.maximum if field.maximum is not None else max(100.0, low + 100.0)
    return min(max(round(random.uniform(low, high), 2), low), high)


def _known_categories(schema: FeatureSchema) -> dict[str, list[str]]:
    """By field, the categories that its features know."""
    known: dict[str, list[str]] = {}
    for feature in schema.features:
        if feature.transform in ("category", "lookup"):
            known[feature.inputs[0]] = list(feature.options.get("categories") or feature.options.get("table") or ())
    return known
