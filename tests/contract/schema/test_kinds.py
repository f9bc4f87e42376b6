"""One value to its canonical form: what a cell of a table and a value of a request are read as."""

from __future__ import annotations

import math
import struct
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest

from contract.schema import kinds, timestamps
from contract.schema.schema import Field

NOON = datetime(2024, 1, 2, 12)
FLOAT32_END = 3.4028235677973366e38  # the smallest double that float32 rounds to infinity


def read(value: Any, kind: str, **declared: Any) -> Any:
    return kinds.reader(Field("x", kind, **declared))(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (1.5, 1.5), ("1.5", 1.5), (" -2 ", -2.0), ("+.5", 0.5), ("7.", 7.0), ("1e3", 1000.0), (Decimal("0.1"), 0.1),
     (None, None), (math.nan, None), ("NaN", None), ("", None), ("  ", None), (math.nextafter(FLOAT32_END, 0), 3.4028235677973362e38)],
)  # fmt: skip
def test_number_is_read_by_its_value(value: Any, expected: float | None) -> None:
    assert read(value, "number") == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        "n.v.",
        "1,5",
        "1_000",
        "1 000",
        "0x10",
        "٣",
        "inf",
        math.inf,
        10**400,
        1e39,
        "1e39",
        FLOAT32_END,
        1.8e308,
        [1],
        {},
        NOON,
    ],
)
def test_number_is_refused_when_a_float32_cannot_be_made_of_it(value: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a (finite )?number"):
        read(value, "number")


def test_largest_number_is_the_last_that_float32_holds() -> None:
    with np.errstate(over="ignore"):
        assert [math.isinf(np.float32(value)) for value in (kinds.LARGEST, FLOAT32_END)] == [False, True]


@pytest.mark.parametrize("value", [-0.0, "-0", " -0.0 ", "-0e5", Decimal("-0"), -1e-400])
def test_there_is_one_zero_when_a_value_has_a_sign(value: Any) -> None:
    assert math.copysign(1, read(value, "number")) == 1


def test_decimal_comma_leaves_no_room_for_a_point() -> None:
    assert [read(text, "number", decimal=",") for text in ("1,5", "3", 2.5)] == [1.5, 3.0, 2.5]
    for text in ("1.5", "1.234,5", "1,2,3"):
        with pytest.raises(ValueError, match="must be a number"):
            read(text, "number", decimal=",")


@pytest.mark.parametrize("value", [-1, -1.0, "-1", " -1.0 ", "-01", Decimal(-1), "n/a"])
def test_number_is_missing_when_its_value_is_a_token_of_the_column(value: Any) -> None:
    assert read(value, "number", missing=("-1", "n/a")) is None
    assert read(1, "number", missing=("-1", "n/a")) == 1.0


def test_token_is_found_as_a_float32_column_holds_it() -> None:
    assert read(float(np.float32(-9.9)), "number", missing=("-9.9",)) is None


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected"),
    [
        (
            0.7,
            0.1,
            (float(np.float32(0.7)), float(np.float32(0.1))),
        ),  # float32 has the first a bit lower, the second a bit higher
        (0.1, 0.7, (0.1, 0.7)),
        (-3, 6000, (-3, 6000)),
        (None, None, (-kinds.LARGEST, kinds.LARGEST)),
        (-1e300, 1e300, (-kinds.LARGEST, kinds.LARGEST)),
    ],
)
def test_bounds_admit_themselves_as_a_float32_column_holds_them(
    minimum: float | None, maximum: float | None, expected: tuple[float, float]
) -> None:
    assert kinds.bounds(minimum, maximum) == expected


@pytest.mark.parametrize("value", [-sys.float_info.max, "-1.7976931348623157e+308", " -1.79769313486231570E308"])
def test_token_may_be_a_number_that_float32_does_not_hold(value: Any) -> None:
    tokens = ("-1.7976931348623157e+308", "1e400")
    assert read(value, "number", missing=tokens) is None
    assert read("1e400", "number", missing=tokens) is None
    with pytest.raises(ValueError, match="finite"):
        read(math.inf, "number", missing=tokens)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (1, True), (0, False), (1.0, True), ("Yes", True), (" no ", False), ("TRUE", True), ("0", False), ("1.0", True),
     ("", None), (None, None), (math.nan, None), (Decimal(1), True)],
)  # fmt: skip
def test_boolean_is_read_by_its_words_and_numbers(value: Any, expected: bool | None) -> None:
    assert read(value, "boolean") is expected


@pytest.mark.parametrize("value", [9, -1, 0.5, "maybe", "2", math.inf, [], NOON])
def test_boolean_is_refused_when_it_is_neither(value: Any) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        read(value, "boolean")


def test_boolean_is_missing_when_its_text_is_a_token() -> None:
    assert [read(value, "boolean", missing=("9", "no")) for value in (9, "9", 9.0, "no", False)] == [
        None,
        None,
        None,
        None,
        False,
    ]


def test_canonical_boolean_is_read_as_what_it_is_when_its_text_is_a_token() -> None:
    assert [read(value, "boolean", missing=("true",)) for value in ("true", "yes", True)] == [None, True, True]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (1.0, "1"), (Decimal("1.00"), "1"), ("1", "1"), ("1.0", "1.0"), (1.5, "1.5"), (Decimal("1.50"), "1.5"), (True, "true"),
     (Decimal("12345678901234567.5"), "12345678901234568"), (12345678901234567.5, "12345678901234568"),
     (10**20, "1" + "0" * 20), (1e20, "1" + "0" * 20), (" a b ", "a b"), (date(2024, 1, 2), "2024-01-02"), ("", None), (math.nan, None)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["category", "identifier"])
def test_text_of_a_number_depends_on_its_value_alone(value: Any, expected: str | None, kind: str) -> None:
    assert read(value, kind) == expected


@pytest.mark.parametrize("number", [0.1, 1.6, -9.99, 3.14159, 1.0078125, 16777.217, 123456.1, 2.5e-7])
def test_text_of_a_number_is_the_same_in_float32(number: float) -> None:
    assert read(float(np.float32(number)), "category") == read(number, "category") == repr(number)


@pytest.mark.parametrize("text", ["1234.03125", "123456.0625", "0.000244140625", "1.5", "0.1", "16777.217"])
def test_number_is_the_category_that_its_text_is(text: str) -> None:
    assert {read(value, "category") for value in (text, float(text), Decimal(text))} == {text}


def test_numbers_of_float32_have_texts_of_their_own() -> None:
    drawn = struct.unpack("4000f", Random(1).randbytes(16_000))
    singles = {each for each in drawn if math.isfinite(each)}
    texts = {read(each, "category") for each in singles}
    assert len(texts) == len(singles)
    assert {float(np.float32(text)) for text in texts} == singles


@pytest.mark.parametrize("value", ["?", " ? ", -1, -1.0, "-1"])
def test_category_is_missing_when_it_is_a_token(value: Any) -> None:
    assert read(value, "category", missing=("?", "-1")) is None


@pytest.mark.parametrize("kind", ["category", "identifier"])
def test_token_is_a_text_where_a_column_is_text_however_a_number_is_written(kind: str) -> None:
    assert [read(text, kind, missing=("-1",)) for text in ("-1.0", "-01", "-1e0")] == ["-1.0", "-01", "-1e0"]
    assert [read(value, kind, missing=("-1.0",)) for value in ("-1.0", -1, -1.0, "-1")] == [None] * 4


@pytest.mark.parametrize(("kind", "unit"), [("number", None), ("timestamp", "s")])
@pytest.mark.parametrize("token", ["-1", "-1.0", "-1e0"])
@pytest.mark.parametrize("value", ["-1", "-1.0", -1, -1.0, Decimal("-1.00")])
def test_token_is_a_value_where_a_column_is_numbers_however_it_is_written(
    kind: str, unit: str | None, token: str, value: Any
) -> None:
    assert read(value, kind, unit=unit, missing=(token,)) is None


@pytest.mark.parametrize(
    "value",
    ["2024-01-02T12:00", "2024-01-02 12:00:00", " 2024-01-02  12:00:00.000 ", NOON],
)
def test_time_without_an_offset_is_local(value: Any) -> None:
    assert read(value, "timestamp") == NOON
    assert read("2024-01-02", "timestamp") == datetime(2024, 1, 2)


@pytest.mark.parametrize(
    "value",
    ["2024-01-02T12:00Z", "2024-01-02 14:00:00+02:00", "2024-01-02T07:00-05", "2024-01-02 13:00 +0100", NOON,
     NOON.replace(tzinfo=UTC), datetime(2024, 1, 2, 14, tzinfo=timezone(timedelta(hours=2)))],
)  # fmt: skip
def test_time_with_an_offset_becomes_utc_when_the_table_has_offsets(value: Any) -> None:
    assert read(value, "timestamp", zone="UTC") == NOON


def test_offset_is_refused_or_wanted_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"without an offset: the model was trained on local times"):
        read("2024-01-02T12:00Z", "timestamp")
    with pytest.raises(ValueError, match=r"must have an offset.*UTC"):
        read("2024-01-02T12:00", "timestamp", zone="UTC")


@pytest.mark.parametrize(
    "value",
    [
        "someday",
        "20240102",
        "2024-13-02",
        "2024-01-02T25:00",
        "2024-01-02T12",
        "2024-W01-2",
        "2024-01-02x12:00",
        17,
        True,
        [],
        "02/01/2024",
    ],
)
def test_timestamp_is_refused_when_it_is_no_time_in_iso_8601(value: Any) -> None:
    with pytest.raises(ValueError, match="must be a timestamp"):
        read(value, "timestamp")


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("s", 1704196800),
        ("s", "1704196800"),
        ("s", 1704196800.0),
        ("ms", 1704196800000),
        ("us", 1704196800000000),
        ("s", NOON),
    ],
)
def test_epoch_is_read_in_its_unit(unit: str, value: Any) -> None:
    assert read(value, "timestamp", unit=unit) == NOON


@pytest.mark.parametrize("value", [20240102, "20240102", 20240102.0])
def test_day_is_read_of_its_digits(value: Any) -> None:
    assert read(value, "timestamp", unit="yyyymmdd") == datetime(2024, 1, 2)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("s", "2024-01-02"),
        ("s", True),
        ("s", 10**15),
        ("s", math.inf),
        ("ms", "soon"),
        ("yyyymmdd", 20241302),
        ("yyyymmdd", 1.5),
        ("s", []),
    ],
)
def test_number_of_a_time_is_refused_when_it_is_none(unit: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"must be .*{unit}"):
        read(value, "timestamp", unit=unit)


@pytest.mark.parametrize("value", ["1900-01-01", "1900-01-01T00:00:00", datetime(1900, 1, 1)])
def test_timestamp_is_missing_when_its_moment_is_a_token(value: Any) -> None:
    assert read(value, "timestamp", missing=("1900-01-01",)) is None


@pytest.mark.parametrize(("value", "zone"), [("1900-01-01T00:00", "UTC"), ("1900-01-01T00:00Z", None)])
def test_timestamp_that_is_a_token_is_missing_with_an_offset_and_without(value: str, zone: str | None) -> None:
    assert read(value, "timestamp", missing=("1900-01-01",), zone=zone) is None


@pytest.mark.parametrize("text", ["1/2/2024 130", "1/2/2024 30", "01/02/2024 5", "1/2/2024 01305"])
def test_time_is_refused_when_digits_without_a_sign_between_are_lost(text: str) -> None:
    make = timestamps.in_format(Field("x", "timestamp", format="%d/%m/%Y %H%M"))
    assert make("1/2/2024 0130") == datetime(2024, 2, 1, 1, 30)
    with pytest.raises(ValueError, match=r"in the format %d/%m/%Y %H%M"):
        make(text)


@pytest.mark.parametrize("kind", ["number", "boolean", "category", "timestamp"])
def test_no_message_holds_a_value(kind: str) -> None:
    secret = {"kilroy": "kilroy-was-here"}
    for value in (secret, "kilroy-was-here"):
        try:
            read(value, kind)
        except ValueError as error:
            assert "kilroy" not in str(error)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("%d/%m/%Y %H", "02/01/2024 12"), ("%Y-%m-%d %H:%M:%S%.f", "2024-01-02 12:00:00"), ("%Y-%m-%d %H:%M:%S%.f", "2024-01-02 12:00:00.000"),
     ("%Y%m%d%H%M", "202401021200"), ("%s", "1704196800"), ("%F %T", "2024-01-02 12:00:00"), ("%d %b %Y %I:%M %p", "02 Jan 2024 12:00 PM")],
)  # fmt: skip
def test_time_in_a_format_is_read(pattern: str, text: str) -> None:
    timestamps.check_format(pattern)
    field = Field("at", "timestamp", source=("day", "hour"), format=pattern)
    assert timestamps.in_format(field)(text) == NOON


@pytest.mark.parametrize("pattern", ["%H:%M", "%d/%m", "%Q", "day"])
def test_format_is_refused_when_it_says_no_day(pattern: str) -> None:
    with pytest.raises(ValueError, match="the format"):
        timestamps.check_format(pattern)


@pytest.mark.parametrize(
    "field",
    [
        *(Field("x", kind) for kind in kinds.KINDS),
        Field("x", "number", minimum=3, maximum=3.5, decimal=",", missing=("3",)),
        Field("x", "number", minimum=0, maximum=0.004, missing=("0",)),  # rounded to two digits, all are 0
        Field("x", "timestamp", zone="UTC"),
        *(Field("x", "timestamp", zone="UTC", unit=unit) for unit in timestamps.UNITS),
        *(
            Field("x", "timestamp", source=("x",), format=pattern)
            for pattern in ("%d.%m.%Y %H:%M", "%Y%m%d", "%d %b %Y", "%F %T%.f", "%m/%d/%y %I:%M %p")
        ),
        Field("x", "timestamp", source=("x",), format="%Y-%m-%d %H:%M %z", zone="UTC"),
        Field("x", "timestamp", source=("day", "hour"), format="%Y-%m-%d %H"),
    ],
    ids=lambda field: f"{field.kind} {field.unit or field.format or ''}",
)
def test_drawn_value_is_one_that_a_request_may_carry(field: Field) -> None:
    random = Random(1)
    values = [kinds.KINDS[field.kind].draw(field, random) for _ in range(100)]
    assert None not in map(kinds.reader(field), values)
