"""Rows and tables to the matrix, on a literal schema."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from contract.errors import BundleError, InvalidRowsError
from contract.model.encoder import Encoder
from contract.schema import kinds
from contract.schema.schema import Feature, FeatureSchema, Field
from tests.contract.conftest import ROW, SCHEMA

ENCODER = Encoder(SCHEMA)
SECRET = "kilroy-was-here"


def encode(**changes: Any) -> dict[str, float]:
    """The features of `ROW` with some fields changed; `...` takes a field out."""
    row = {name: value for name, value in (ROW | changes).items() if value is not ...}
    matrix, _ = ENCODER.encode_rows([row])
    assert (matrix.shape, matrix.dtype) == ((1, len(SCHEMA.features)), np.float32)
    return dict(zip(SCHEMA.feature_names, matrix[0].tolist(), strict=True))


def problems(*rows: Any) -> list[tuple[int | None, str | None, str]]:
    with pytest.raises(InvalidRowsError) as error:
        ENCODER.encode_rows(rows)
    assert SECRET not in str(error.value)
    return [(problem.row, problem.field, problem.problem) for problem in error.value.problems]


def test_row_is_encoded_as_worked_out_by_hand() -> None:
    assert encode() == {
        "carrier": 1.0,
        "gate": 0.25,
        "minute": 1050.0,
        "hour_sin": pytest.approx(math.sin(2 * math.pi * 17 / 24), abs=1e-7),
        "distance": 500.0,
        "log_wind": pytest.approx(math.log(21), rel=1e-7),
        "wind_per_mile": pytest.approx(0.04, rel=1e-7),
        "night": 1.0,
    }


@pytest.mark.parametrize(
    ("carrier", "code"), [("AA", 0.0), ("UA", 1.0), ("ZZ", 2.0), ("aa", 2.0), (" UA ", 1.0), (7, 2.0), (1.5, 2.0)]
)
def test_category_has_its_position_or_the_code_of_the_unknown(carrier: Any, code: float) -> None:
    assert encode(carrier=carrier)["carrier"] == code


@pytest.mark.parametrize("value", [3.5, "anything", None, [SECRET], True])
def test_deprecated_field_is_accepted_and_ignored_whatever_its_value(value: Any) -> None:
    encoder = Encoder(replace(SCHEMA, deprecated=(Field("fog", "number", required=False),)))
    matrix, fallbacks = encoder.encode_rows([ROW | {"fog": value}, ROW])
    expected, taken = ENCODER.encode_rows([ROW])
    assert matrix.tobytes() == expected.tobytes() * 2
    assert fallbacks == taken * 2
    assert ("fog", "unknown field") in {(field, what) for _, field, what in problems(ROW | {"fog": value})}
    with pytest.raises(InvalidRowsError) as caught:
        encoder.encode_rows([ROW | {"fog": value, "smog": 1}])
    assert [problem.field for problem in caught.value.problems] == ["smog"]
    columns = {name: [value] for name, value in ROW.items()}
    assert encoder.encode_table(columns).tobytes() == expected.tobytes()


def test_nothing_of_a_schema_is_run_as_a_program() -> None:
    hostile = "x'\"]; raise SystemExit(__import__('os'))\n#"
    fields = (Field(hostile, "category", unit=hostile), Field(f"{hostile}2", "number", required=False))
    known = {"categories": [hostile, "y"]}
    features = (Feature(hostile, "category", (hostile,), known), Feature("two", "value", (f"{hostile}2",)))
    encoder = Encoder(replace(SCHEMA, name=hostile, fields=fields, features=features))
    matrix, fallbacks = encoder.encode_rows([{hostile: "y", f"{hostile}2": 2.5}, {hostile: "z"}])
    assert np.array_equal(matrix, np.array([[1, 2.5], [2, np.nan]], np.float32), equal_nan=True)
    assert [[entry["problem"] for entry in taken] for taken in fallbacks] == [[], ["missing", "unknown category"]]


@pytest.mark.parametrize("absent", [None, ...])
def test_optional_field_is_nan_when_missing(absent: Any) -> None:
    features = encode(gate=absent, wind=absent, night=absent)
    assert [name for name, value in features.items() if math.isnan(value)] == [
        "gate",
        "log_wind",
        "wind_per_mile",
        "night",
    ]


def test_fallbacks_tell_missing_from_unknown() -> None:
    rows = [ROW, ROW | {"carrier": "ZZ", "gate": "C1"}, ROW | {"gate": None, "wind": None}]
    _, fallbacks = ENCODER.encode_rows(rows)
    assert fallbacks == [
        [],
        [{"field": "carrier", "problem": "unknown category"}, {"field": "gate", "problem": "unknown category"}],
        [{"field": "gate", "problem": "missing"}, {"field": "wind", "problem": "missing"}],
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("carrier", ""),
        ("carrier", [SECRET]),
        ("carrier", math.inf),
        ("at", SECRET),
        ("at", 1387906200),
        ("at", "2013-13-24T17:30"),
        ("at", "2013-12-24T17:30+01:00"),
        ("at", "2013-12-24T17:30Z"),
        ("at", ""),
        ("distance", SECRET),
        ("distance", "5OO"),
        ("distance", " 7000"),
        ("distance", 1e39),
        ("distance", True),
        ("distance", 0.5),
        ("distance", 6000.1),
        ("distance", math.nan),
        ("distance", math.inf),
        ("distance", 10**400),
        ("wind", math.nan),
        ("wind", -math.inf),
        ("night", 2),
        ("night", "maybe"),
    ],
)
def test_field_is_named_when_its_value_breaks_the_schema(field: str, value: Any) -> None:
    assert [(row, name) for row, name, _ in problems(ROW, ROW | {field: value})] == [(1, field)]


@pytest.mark.parametrize("field", ["carrier", "at", "distance"])
def test_field_is_named_when_it_is_required_and_missing(field: str) -> None:
    without = {name: value for name, value in ROW.items() if name != field}
    assert problems(without) == problems(ROW | {field: None}) == [(0, field, "required, but missing")]


@pytest.mark.parametrize(
    "text",
    ["2013-12-24T17:30", "2013-12-24T17:30:59", "2013-12-24 17:30", "2013-W52-2T17:30", "2013-12-24T17+01", "2013-12-24T17:30+01",
     "2013-12-24T17:3O", "2013-12-24T24:00", "2013-358-T17:30:", "20131224-17T:30:", "2013-12-24T17:30Z", "２013-12-24T17:30"],
)  # fmt: skip
def test_row_is_read_as_one_value_is_where_a_short_way_is_taken(text: str) -> None:
    try:
        expected: Any = kinds.reader(Field("at", "timestamp"))(text)
    except ValueError:
        assert [field for _, field, _ in problems(ROW | {"at": text})] == ["at"]
    else:
        assert encode(at=text)["minute"] == expected.hour * 60 + expected.minute


@pytest.mark.parametrize("distance", [500, "500", " 500.0 ", "+5e2"])
def test_number_is_the_same_as_text_or_whole(distance: Any) -> None:
    assert encode(distance=distance) == encode(distance=500.0)


def test_tokens_count_in_a_request_and_no_bound_is_asked_of_them() -> None:
    fields = (
        Field("pdays", "number", required=False, minimum=-1, missing=("-1",)),
        Field("age", "number", missing=("0",)),
        Field("job", "category", required=False, missing=("?",)),
        Field("loan", "boolean", required=False, missing=("9",)),
    )
    features = (
        Feature("pdays", "value", ("pdays",)),
        Feature("age", "value", ("age",)),
        Feature("job", "category", ("job",), {"categories": ["maid"]}),
        Feature("loan", "value", ("loan",)),
    )
    encoder = Encoder(replace(SCHEMA, fields=fields, features=features))
    row = {"pdays": -1, "age": 40, "job": "?", "loan": 9}
    spellings = [
        row,
        row | {"pdays": -1.0, "job": " ? "},
        row | {"pdays": "-1.0", "loan": "9", "job": ""},
        {"age": 40.0},
    ]
    matrix, fallbacks = encoder.encode_rows(spellings)
    assert [[entry["field"] for entry in taken] for taken in fallbacks] == [["pdays", "job", "loan"]] * 4
    assert np.array_equal(matrix, np.array([[np.nan, 40, np.nan, np.nan]] * 4, np.float32), equal_nan=True)
    for missing in (0, 0.0, "0"):
        with pytest.raises(InvalidRowsError, match=r"age.*required, but missing"):
            encoder.encode_rows([row | {"age": missing}])


def test_ratio_beyond_float32_is_missing() -> None:
    assert math.isnan(encode(distance=1, wind=3e38)["wind_per_mile"]) is False
    fields = (Field("a", "number"), Field("b", "number"))
    encoder = Encoder(replace(SCHEMA, fields=fields, features=(Feature("r", "ratio", ("a", "b")),)))
    matrix, _ = encoder.encode_rows([{"a": 3e38, "b": 0.1}])
    assert np.isnan(matrix).all()


MADE = (
    Field("at", "timestamp", source=("day", "hour"), format="%d/%m/%Y %H", missing=("?",), required=False),
    Field("hour", "number", source=("hr",)),
)
MADE_ENCODER = Encoder(
    replace(
        SCHEMA,
        fields=(MADE[0], MADE[1]),
        features=(
            Feature("minute", "calendar", ("at",), {"part": "minute_of_day"}),
            Feature("hour", "value", ("hour",)),
        ),
    )
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"at": "2024-01-02T07:00", "hour": 3}, [420, 3]),
        ({"day": "02/01/2024", "hour": 7}, [420, 7]),
        ({"day": "02/01/2024", "hour": "7"}, [420, 7]),
        ({"day": "?", "hour": 7}, [math.nan, 7]),
        ({"hr": 7.0, "at": "2024-01-02T00:01"}, [1, 7]),
    ],
)
def test_row_may_have_the_columns_of_the_source(row: dict[str, Any], expected: list[float]) -> None:
    matrix, _ = MADE_ENCODER.encode_rows([row])
    assert np.array_equal(matrix, np.array([expected], np.float32), equal_nan=True)


def test_row_of_the_source_may_have_a_column_that_the_timestamp_is_made_of_and_called_like() -> None:
    at = Field("at", "timestamp", source=("at", "clock"), format="%d/%m/%Y %H:%M", required=False)
    minute = Feature("minute", "calendar", ("at",), {"part": "minute_of_day"})
    encoder = Encoder(replace(SCHEMA, fields=(at,), features=(minute,)))
    rows = [{"at": "02/01/2024", "clock": "07:00"}, {"at": "2024-01-02T07:00"}, {"at": "02/01/2024", "clock": None}]
    matrix, _ = encoder.encode_rows(rows)
    assert np.array_equal(matrix, np.array([[420], [420], [math.nan]], np.float32), equal_nan=True)
    with pytest.raises(InvalidRowsError, match="do not fit"):
        encoder.encode_rows([{"at": "2024-01-02T07:00", "clock": "07:00"}])


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        ({"at": "2024-01-02", "day": "02/01/2024", "hour": 1}, "at", "is given twice"),
        ({"hour": 1, "hr": 1}, "hour", "is given twice"),
        ({"day": "2024-01-02", "hour": 1}, "at", "made of 'day' and 'hour': must be a timestamp in the format"),
        ({"at": "02/01/2024 7", "hour": 1}, "at", "must be a timestamp such as"),
        ({"Day": "02/01/2024", "hour": 1}, "Day", "unknown field"),
    ],
)
def test_row_of_the_source_is_refused_by_the_field_that_is_made_of_it(
    row: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidRowsError) as caught:
        MADE_ENCODER.encode_rows([row])
    assert [(found.field, problem in found.problem) for found in caught.value.problems] == [(field, True)]


def test_every_problem_is_reported_at_once() -> None:
    assert [(row, field) for row, field, _ in problems({"x": 1}, ROW | {"wind": "w", "night": 9}, 5)] == [
        (0, "x"),
        (0, "carrier"),
        (0, "at"),
        (0, "distance"),
        (1, "wind"),
        (1, "night"),
        (2, None),
    ]


def test_message_has_range_and_unit_but_no_value() -> None:
    assert problems(ROW | {"distance": 70000.125}) == [(0, "distance", "must be between 1 and 6000 mi")]


def test_no_row_gives_an_empty_matrix() -> None:
    matrix, fallbacks = ENCODER.encode_rows([])
    assert (matrix.shape, fallbacks) == ((0, len(SCHEMA.features)), [])


def test_rows_and_columns_are_encoded_bit_for_bit_alike() -> None:
    rows = [
        ROW,
        ROW | {"carrier": "ZZ", "gate": "C1", "at": "2012-02-29T00:00", "distance": 1, "wind": -0.0, "night": False},
        ROW | {"gate": None, "wind": None, "night": None, "distance": 10 / 3},
        ROW | {"at": datetime(2013, 7, 4, 23, 59, 59), "wind": 1e38},
    ]
    columns = {name: [row[name] for row in rows] for name in ROW}
    matrix, _ = ENCODER.encode_rows(rows)
    assert matrix.tobytes() == ENCODER.encode_table(columns).tobytes()


@pytest.mark.parametrize("missing", [(), ("-999", "5.5"), ("-1", "3000")])
@pytest.mark.parametrize("name", ["wind", "distance"])
def test_numbers_of_a_table_are_encoded_alike_in_an_array_and_in_a_list(name: str, missing: tuple[str, ...]) -> None:
    values = [-0.0, 0.0, 1e-300, 5.5, 1e38, 1e39, -1e39, math.inf, -math.inf, math.nan, -999.0, 3000.0, -1.0]
    fields = tuple(replace(field, missing=missing) if field.name == name else field for field in SCHEMA.fields)
    encoder = Encoder(replace(SCHEMA, fields=fields))
    columns = {key: [value] * len(values) for key, value in ROW.items()} | {name: values}
    before = np.array(values)
    assert encoder.encode_table(columns | {name: before}).tobytes() == encoder.encode_table(columns).tobytes()
    assert before.tobytes() == np.array(values).tobytes()


@pytest.mark.parametrize("value", [-0.0, "-0.0", "-0", 0, "0"])
def test_zero_is_encoded_as_a_table_has_it_whatever_its_sign(value: Any) -> None:
    columns = {name: [field] for name, field in (ROW | {"wind": 0.0}).items()}
    matrix, _ = ENCODER.encode_rows([ROW | {"wind": value}])
    assert matrix.tobytes() == ENCODER.encode_table(columns).tobytes()
    assert ENCODER.encode_table(columns | {"wind": [value]}).tobytes() == matrix.tobytes()


def test_value_at_a_bound_is_within_it_in_float32_as_in_float64() -> None:
    fields = tuple(
        replace(field, minimum=0.7, maximum=600.2) if field.name == "distance" else field for field in SCHEMA.fields
    )
    encoder = Encoder(replace(SCHEMA, fields=fields))
    for bound in (0.7, 600.2):
        single = float(np.float32(bound))  # 0.7 is less there, and 600.2 more
        matrix, _ = encoder.encode_rows([ROW | {"distance": bound}, ROW | {"distance": single}])
        table = {name: [value] * 2 for name, value in ROW.items()} | {"distance": np.array([bound, single])}
        assert matrix.tobytes() == encoder.encode_table(table).tobytes()
        beyond = float(np.nextafter(np.float32(bound), np.float32(bound - 300)))
        with pytest.raises(InvalidRowsError, match=r"distance.*must be between 0\.7 and 600\.2"):
            encoder.encode_rows([ROW | {"distance": beyond if bound < 1 else 2 * bound - beyond}])


def test_table_value_is_missing_when_a_request_would_be_refused_for_it() -> None:
    columns: dict[str, list[Any]] = {name: [value, value] for name, value in ROW.items()}
    columns |= {"distance": [7000.0, math.nan], "carrier": [None, ""], "at": [None, "yesterday"], "night": [9, None]}
    matrix = ENCODER.encode_table(columns)
    spoiled = ["carrier", "minute", "hour_sin", "distance", "wind_per_mile", "night"]
    for name, values in zip(SCHEMA.feature_names, matrix.T.tolist(), strict=True):
        assert [math.isnan(value) for value in values] == [name in spoiled] * 2


def test_table_is_refused_when_it_lacks_a_column() -> None:
    with pytest.raises(InvalidRowsError, match="night"):
        ENCODER.encode_table({name: [value] for name, value in ROW.items() if name != "night"})


@pytest.mark.parametrize("transform", ["calendar", "square"])  # one without its options, and one that is unknown
def test_schema_is_refused_when_a_transform_cannot_be_made(transform: str) -> None:
    broken = FeatureSchema("toy", "binary", SCHEMA.target, SCHEMA.fields, (Feature("x", transform, ("at",), {}),))
    with pytest.raises(BundleError, match=transform):
        Encoder(broken)
