"""Golden requests, drawn from the schema (ranges, categories, gaps) and never from the data, with the artifact's answers."""

from __future__ import annotations

from random import Random
from typing import Any

from contract.model import transforms
from contract.model.predictor import Predictor
from contract.schema.kinds import KINDS, UNKNOWN
from contract.schema.schema import FeatureSchema, Field

_COUNT = 32


def golden_cases(predictor: Predictor) -> list[dict[str, Any]]:
    """Return `row` and `answer` of each golden request: the first complete, later ones with gaps and unknown categories."""
    rows = golden_rows(predictor.schema)
    return [{"row": row, "answer": answer} for row, answer in zip(rows, predictor.predict(rows), strict=True)]


def golden_rows(schema: FeatureSchema, count: int = _COUNT) -> list[dict[str, Any]]:
    """Return rows that the schema allows; the same schema gives the same rows."""
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
    if known:
        return UNKNOWN if allow_unknown and random.random() < 0.1 else random.choice(known)
    return KINDS[field.kind].draw(field, random)


def _known_categories(schema: FeatureSchema) -> dict[str, list[str]]:
    """Return the categories that features know, by field."""
    listed = ((feature.inputs[0], transforms.listed(feature)) for feature in schema.features)
    return {name: list(categories) for name, categories in listed if categories is not None}
