"""Columns are encoded as the same rows are: every kind of field, every transform, whatever is sent."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from contract.errors import InvalidRowsError
from contract.model.columns.categories import _pieces, _Table
from contract.model.columns.program import Columns
from contract.model.columns.texts import Texts
from contract.model.encoder import Encoder, by_fallback
from contract.model.transforms import CALENDAR_PARTS, TRANSFORMS
from contract.schema.kinds import REQUESTED
from contract.schema.schema import Feature, FeatureSchema, Field, Target

NUMBERS = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT8": "<i1", "UINT64": "<u8"}
FIELDS = (
    Field("distance", "number", minimum=1, maximum=6000),
    Field("wind", "number", required=False),
    Field("pdays", "number", required=False, minimum=0, missing=("-1", "0.1")),
    Field("price", "number", required=False, decimal=","),
    Field("carrier", "category"),
    Field("gate", "category", required=False, missing=("?",)),
    Field("note", "category", required=False),
    Field("at", "timestamp"),
    Field("until", "timestamp", required=False),
    Field("utc", "timestamp", required=False, zone="UTC"),
    Field("epoch", "timestamp", required=False, unit="s"),
    Field("own", "timestamp", required=False, source=("own",), format="%d/%m/%Y"),
    Field("night", "boolean", required=False),
    Field("paid", "boolean"),
)
MOMENTS = ("at", "until", "utc", "epoch", "own")
FEATURES = (
    *(Feature(f"{name} value", "value", (name,)) for name in ("distance", "wind", "pdays", "price", "night", "paid")),
    *(Feature(f"{name} missing", "is_missing", (name,)) for name in ("wind", "gate", "until", "epoch", "night")),
    Feature("carrier", "category", ("carrier",), {"categories": ["UA", "AA", "É", "7"]}),
    Feature("carrier again", "lookup", ("carrier",), {"table": {"AA": 0.1, "É": 2, "ZZ": 3}, "default": None}),
    Feature("gate", "lookup", ("gate",), {"table": {"B7": 0.25, "?": 1}, "default": -1.0}),
    Feature("length", "text_length", ("note",)),
    Feature("gate length", "text_length", ("gate",)),
    *(Feature(f"{part} of {at}", "calendar", (at,), {"part": part}) for part in CALENDAR_PARTS for at in MOMENTS),
    *(
        Feature(f"{function} of {part}", "cyclic", ("until",), {"part": part, "function": function})
        for part in CALENDAR_PARTS
        for function in ("sin", "cos")
    ),
    *(
        Feature(f"elapsed {unit} {end}", "elapsed", ("at", end), {"unit": unit})
        for unit in ("s", "min", "h", "d")
        for end in ("until", "epoch")
    ),
    Feature("ratio", "ratio", ("distance", "wind")),
    Feature("ratio of booleans", "ratio", ("distance", "night")),
    Feature("difference", "difference", ("wind", "price")),
    Feature("product", "product", ("wind", "price")),
    Feature("binned", "binned", ("wind",), {"edges": [-1, 0, 2.5, 1e30]}),
    Feature("log", "log", ("wind",)),
    *(
        Feature(
            f"holiday {at}",
            "holiday",
            (at,),
            {"dates": ["2024-02-29", "1969-12-25"], "first_year": 1969, "last_year": 2024},
        )
        for at in ("at", "own")
    ),
)
SCHEMA = FeatureSchema("toy", "binary", Target("late", ("no", "yes"), 0.5), FIELDS, FEATURES)
ENCODER = Encoder(SCHEMA)
TEXTS = {
    "number": ["5", " 5.5 ", "3,5", "+1e3", "-1", "0.1", "nan", "", "9999", "x"],
    "category": ["UA", "AA", "É", "7", "B7", "?", " AA ", "ZZ", "", "much longer", "A\0", "true", "1", "A\0\0\0", "x" * 257],
    "boolean": ["true", "No", "1", "0", "", "maybe"],
    "timestamp": [
        "2024-02-29T17:30", "2024-02-29T17:30:59", "1969-12-25T23:59", "0001-01-01T00:00", "9999-12-31T23:59", "2020-12-31T00:00",
        "2021-01-03T07:07", "2024-02-30T00:00", "0000-01-01T00:00", "2024-02-29T24:00", "2024-02-29 17:30", "2024-02-29", "",
        "2024-02-29T17:30:59.5", "2024-02-29T17:30Z", "2024-02-29T17:30:59Z", "2024-02-29T17:30+01:00", "2024-02-2xT17:30",
        "1e9", "29/02/2024", "/A24-02-29T17:30", "2024-/A-29T17:30", "+024-02-29T17:30",
    ],
}  # fmt: skip
FLOATS = [1.5, 2.5, 700.0, -0.0, 0.0, 0.1, -1.0, 5e-324, 3e38, -3e38, 1e30, float("nan"), 6000.5, 1e39, float("inf")]
WHOLE = [1, 2, 5, 100, 0, -1, 127, 2**53 + 1, -(2**62)]


def drawn(field: Field, datatype: str, size: int, pick: random.Random) -> Any:
    """A column of this datatype, as tensors give one; mostly of values that some field of the kind may have."""
    texts = TEXTS[field.kind]
    texts = [pick.choice(texts)] * 3 + texts if pick.random() < 0.3 else pick.sample(texts, pick.randint(1, 3))
    if datatype == "BYTES":
        items = [pick.choice(texts).encode() for _ in range(size)]
        packed = b"".join(struct.pack("<I", len(item)) + item for item in items)
        return Texts(packed, size) if pick.random() < 0.8 else items
    if datatype == "BOOL":
        return np.array([pick.random() < 0.5 for _ in range(size)])
    dtype = np.dtype(NUMBERS[datatype])
    if dtype.kind == "f":
        values = pick.sample(FLOATS, pick.randint(1, 4))
    else:
        limits = np.iinfo(dtype)
        values = [value for value in pick.sample(WHOLE, 4) if limits.min <= value <= limits.max] or [1]
    with np.errstate(over="ignore"):
        return np.array([pick.choice(values) for _ in range(size)]).astype(dtype)


def listed(column: Any) -> Any:
    if isinstance(column, Texts):
        return column.items()
    return column.tolist() if isinstance(column, np.ndarray) else column


def rows_of(columns: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """The rows that tensors make, by values: text, and None for a NaN where the field is optional."""
    required = {field.name: field.required for field in FIELDS}

    def one(name: str, value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        return None if value != value and not required[name] else value

    lists = {name: listed(column) for name, column in columns.items()}
    return [{name: one(name, values[row]) for name, values in lists.items()} for row in range(size)]


def problems_of(error: InvalidRowsError) -> list[Any]:
    return [(problem.row, problem.field, problem.problem) for problem in error.problems]


def outcome(encode: Callable[[], Any]) -> Any:
    try:
        matrix, assumed = encode()
    except InvalidRowsError as error:
        return problems_of(error)
    return matrix.tobytes(), matrix.shape, assumed


def alone(encoder: Encoder, columns: Columns) -> Any:
    matrix, (found,) = encoder.encode_columns([columns])
    if isinstance(found, InvalidRowsError):
        raise found
    return matrix, found


def by_rows(rows: list[dict[str, Any]]) -> Any:
    matrix, fallbacks = ENCODER.encode_rows(rows)
    return matrix, by_fallback(fallbacks)


VALID = {
    "distance": [1.5, 700.0],
    "wind": [2.5, -0.0, float("nan")],
    "carrier": ["UA", "É", "ZZ"],
    "at": ["2024-02-29T17:30"],
    "paid": [True, False],
}
READ = {"number": [*NUMBERS, "BYTES"], "boolean": [*NUMBERS, "BOOL", "BYTES"], "category": [*NUMBERS, "BOOL", "BYTES"]}


def table(seed: int) -> tuple[dict[str, Any], int]:
    """Columns that are right, but for some that may be anything; some are Python values, as in JSON."""
    pick = random.Random(seed)
    size = pick.randint(1, 20)
    columns: dict[str, Any] = {}
    for name, values in VALID.items():
        chosen = [pick.choice(values) for _ in range(size)]
        columns[name] = [value.encode() for value in chosen] if isinstance(values[0], str) else np.array(chosen)
    for field in pick.sample(FIELDS, pick.randint(1, 3)):
        datatypes = READ.get(field.kind, [*NUMBERS, "BYTES"] if field.unit else ["BYTES"])
        columns[field.name] = drawn(field, pick.choice(datatypes), size, pick)
        if pick.random() < 0.2:
            (plain,) = [[row[field.name] for row in rows_of({field.name: columns[field.name]}, size)]]
            columns[field.name] = plain
    return columns, size


@pytest.mark.parametrize("first", range(0, 4000, 1000))
def test_columns_are_encoded_bit_for_bit_as_their_rows(first: int) -> None:
    refused = 0
    for seed in range(first, first + 1000):
        columns, size = table(seed)
        rows = rows_of(columns, size)
        asked: list[int] = []

        def ask(rows: list[dict[str, Any]] = rows, asked: list[int] = asked) -> list[dict[str, Any]]:
            asked.append(1)
            return rows

        expected = outcome(lambda rows=rows: by_rows(rows))
        assert outcome(lambda c=columns, n=size, a=ask: alone(ENCODER, Columns(c, n, a))) == expected, seed
        is_refused = isinstance(expected, list)
        assert bool(asked) == is_refused, seed  # what has an answer is not left to the rows
        refused += is_refused
    assert 200 < refused < 800


def request(seed: int) -> Columns:
    columns, size = table(seed)
    rows = rows_of(columns, size)
    return Columns(columns, size, lambda: rows)


def test_requests_together_are_encoded_as_each_alone() -> None:
    alike: dict[frozenset[str], list[tuple[Columns, Any]]] = {}
    for seed in range(2000):
        columns = request(seed)
        alike.setdefault(frozenset(columns.values), []).append((columns, outcome(lambda c=columns: alone(ENCODER, c))))
    joined = refused = 0
    for some in (group[first : first + 3] for group in alike.values() for first in range(0, len(group), 3)):
        requests, single = zip(*some, strict=True)
        if any(isinstance(each, list) for each in single):
            matrix, found = ENCODER.encode_columns(requests)
            assert [problems_of(each) if isinstance(each, InvalidRowsError) else each for each in found] == [
                each if isinstance(each, list) else each[2] for each in single
            ]
            assert matrix.tobytes() == b"".join(each[0] for each in single if isinstance(each, tuple))
            refused += 1
            continue
        with suppress(ValueError):  # else the requests differ in the form of a column
            matrix, assumed = ENCODER._columns.requests(requests)
            assert matrix.tobytes() == b"".join(content for content, _, _ in single)
            assert assumed == [taken for _, _, taken in single]
            joined += 1
    assert joined > 30
    assert refused > 100


def test_numbers_of_requests_together_are_encoded_as_those_of_each_alone() -> None:
    pick = random.Random(1)
    fields = [Field(name, "number", required=False, minimum=0) for name in "abc"]
    features = tuple(Feature(name, "value", (name,)) for name in "abc")
    encoder = Encoder(FeatureSchema("toy", "regression", Target("x"), tuple(fields), features))
    for _ in range(200):
        requests = []
        for size in [pick.randint(1, 5) for _ in range(pick.randint(1, 4))]:
            block = [np.array([pick.choice((1.0, -0.0, math.nan)) for _ in range(size)]).tobytes() for _ in fields]
            requests.append(Columns({}, size, list, block, frozenset("abc")))
        single = [alone(encoder, columns) for columns in requests]
        matrix, assumed = encoder.encode_columns(requests)
        assert matrix.tobytes() == np.concatenate([matrix for matrix, _ in single]).tobytes()
        assert assumed == [taken for _, taken in single]


def test_requests_together_are_refused_when_the_texts_of_one_are_those_of_another() -> None:
    texts = [Texts(b"\2\0\0\0AA" * count, 2) for count in (1, 3)]
    valid, _ = table(0)
    columns = {name: values[:1] * 2 for name, values in valid.items()}
    requests = [Columns(columns | {"carrier": column}, 2, lambda c=column: c.items()) for column in texts]
    with pytest.raises(ValueError, match="elements"):
        ENCODER.encode_columns(requests)


def test_every_transform_and_kind_is_drawn() -> None:
    assert {feature.transform for feature in FEATURES} == set(TRANSFORMS)
    assert {field.kind for field in FIELDS} == set(REQUESTED)


def test_request_is_left_to_the_rows_when_it_has_columns_of_the_source() -> None:
    fields = (Field("hour", "number", source=("hr",)),)
    encoder = Encoder(FeatureSchema("toy", "regression", Target("x"), fields, (Feature("hour", "value", ("hour",)),)))
    rows = [{"hr": 1.0}, {"hr": 2.0}]
    matrix, assumed = alone(encoder, Columns({"hr": np.array([1.0, 2.0])}, 2, lambda: rows))
    assert (matrix.tolist(), assumed) == ([[1.0], [2.0]], [])


def test_table_is_encoded_bit_for_bit_as_rows() -> None:
    for seed in range(500):
        columns, size = table(seed)
        rows = rows_of(columns, size)
        expected = outcome(lambda rows=rows: by_rows(rows))
        if isinstance(expected, list):
            continue
        lists = {field.name: [row.get(field.name) for row in rows] for field in FIELDS}
        assert ENCODER.encode_table(lists).tobytes() == expected[0], seed


@pytest.mark.parametrize("content", [b"", b"\2\0\0\0AA", b"\2\0\0\0AA\1\0", b"\2\0\0\0AA" * 3])
def test_other_number_of_texts_than_rows_is_left_to_the_rows(content: bytes) -> None:
    assert Texts(b"\2\0\0\0AA\1\0\0\0U", 2).pieces() == [b"\2\0\0\0AA", b"\1\0\0\0U"]
    for look in (Texts(content, 2).items, Texts(content, 2).pieces):
        with pytest.raises(ValueError, match="element"):
            look()
    assert _pieces([Texts(content, 2)], is_long=False) is None


@pytest.mark.parametrize("known", [["AA", "A", "", "ABCD"], ["JFK", "a longer one", "a longer two"], ["A" * 12]])
def test_texts_are_found_as_in_a_dictionary(known: list[str]) -> None:
    pick = random.Random(2)
    codes = {text.encode(): pick.randint(0, 9) for text in known}
    others = ["", "A\0", "AAA", "a longer 1", "a longer oneX", "A" * 11, "B" + "A" * 11, "A" * 255, "\0\0\0\0\0"]
    for _ in range(500):
        many = [[pick.choice(known + others).encode() for _ in range(pick.randint(1, 9))] for _ in range(3)]
        columns = [Texts(b"".join(struct.pack("<I", len(text)) + text for text in texts), len(texts)) for texts in many]
        table = _Table(codes)
        pieces = _pieces(columns, is_long=table.is_long)
        if pieces is not None:
            texts = [text for texts in many for text in texts]
            found, rows, unknown = table.find(pieces, 0, len(texts))
            assert dict(zip(rows, unknown, strict=True)) == {
                row: struct.pack("<I", len(text)) + text for row, text in enumerate(texts) if text not in codes
            }
            assert all(found[row] == codes[text] for row, text in enumerate(texts) if text in codes)
        elif not any(b"\0" in text for texts in many for text in texts):
            pytest.fail(f"not found: {many}")
