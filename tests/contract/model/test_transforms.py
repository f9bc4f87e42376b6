"""Each transform against values worked out by hand."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest

from contract.model import transforms

CHRISTMAS_EVE = datetime(2013, 12, 24, 17, 30)  # a Tuesday, the 358th day, ISO week 52

CALENDAR = {"dates": ["2013-01-01", "2013-12-25"], "first_year": 2013, "last_year": 2014}


@pytest.mark.parametrize(
    ("at", "part", "expected"),
    [
        (CHRISTMAS_EVE, "minute_of_day", 1050),
        (CHRISTMAS_EVE, "hour", 17),
        (CHRISTMAS_EVE, "weekday", 1),
        (CHRISTMAS_EVE, "day", 24),
        (CHRISTMAS_EVE, "month", 12),
        (CHRISTMAS_EVE, "day_of_year", 358),
        (CHRISTMAS_EVE, "week", 52),
        (datetime(2012, 12, 31, 23, 59), "day_of_year", 366),
        (datetime(2012, 12, 31, 23, 59), "week", 1),
        (datetime(2013, 1, 6), "weekday", 6),
        (datetime(2013, 1, 6), "minute_of_day", 0),
    ],
)
def test_calendar_reads_the_part(at: datetime, part: str, expected: int) -> None:
    assert transforms.make("calendar", {"part": part})(at) == expected


@pytest.mark.parametrize(
    ("hour", "function", "expected"),
    [(0, "sin", 0.0), (0, "cos", 1.0), (6, "sin", 1.0), (6, "cos", 0.0), (12, "cos", -1.0), (18, "sin", -1.0)],
)
def test_cyclic_goes_round_once_a_day(hour: int, function: str, expected: float) -> None:
    wave = transforms.make("cyclic", {"part": "hour", "function": function})
    assert wave(datetime(2013, 1, 1, hour)) == pytest.approx(expected, abs=1e-12)


def test_known_unknown_and_missing_category_are_three_codes() -> None:
    code = transforms.make("category", {"categories": ["AA", "UA"]})
    assert [code("AA"), code("UA"), code("ZZ"), code("")] == [0.0, 1.0, 2.0, 2.0]
    assert math.isnan(code(None))


@pytest.mark.parametrize(
    ("name", "options", "inputs", "expected"),
    [
        ("value", {}, (2.5,), 2.5),
        ("value", {}, (True,), 1.0),
        ("value", {}, (False,), 0.0),
        ("ratio", {}, (1.0, 4.0), 0.25),
        ("ratio", {}, (0.0, 4.0), 0.0),
        ("difference", {}, (1.5, 4.0), -2.5),
        ("product", {}, (1.5, -4.0), -6.0),
        ("elapsed", {"unit": "s"}, (CHRISTMAS_EVE, CHRISTMAS_EVE + timedelta(seconds=1.5)), 1.5),
        ("elapsed", {"unit": "min"}, (CHRISTMAS_EVE, CHRISTMAS_EVE - timedelta(hours=2)), -120.0),
        ("elapsed", {"unit": "h"}, (CHRISTMAS_EVE, CHRISTMAS_EVE + timedelta(days=2)), 48.0),
        ("elapsed", {"unit": "d"}, (CHRISTMAS_EVE, CHRISTMAS_EVE + timedelta(hours=36)), 1.5),
        ("is_missing", {}, (None,), 1.0),
        ("is_missing", {}, (False,), 0.0),
        ("is_missing", {}, ("",), 0.0),
        ("text_length", {}, ("Zoë",), 3.0),
        ("binned", {"edges": [1, 5]}, (0.0,), 0.0),
        ("binned", {"edges": [1, 5]}, (1.0,), 0.0),
        ("binned", {"edges": [1, 5]}, (1.1,), 1.0),
        ("binned", {"edges": [1, 5]}, (9.0,), 2.0),
        ("holiday", CALENDAR, (datetime(2013, 12, 25, 23, 59),), 1.0),
        ("holiday", CALENDAR, (CHRISTMAS_EVE,), 0.0),
        ("log", {}, (0.0,), 0.0),
        ("log", {}, (math.e - 1,), 1.0),
        ("lookup", {"table": {"B7": 0.25}, "default": -1.0}, ("B7",), 0.25),
        ("lookup", {"table": {"B7": 0.25}, "default": -1.0}, ("C1",), -1.0),
    ],
)
def test_transform_gives_the_value(
    name: str, options: dict[str, Any], inputs: tuple[Any, ...], expected: float
) -> None:
    assert transforms.make(name, options)(*inputs) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "options", "inputs"),
    [
        ("value", {}, (None,)),
        ("category", {"categories": ["AA"]}, (None,)),
        ("calendar", {"part": "hour"}, (None,)),
        ("cyclic", {"part": "hour", "function": "sin"}, (None,)),
        ("ratio", {}, (None, 1.0)),
        ("ratio", {}, (1.0, None)),
        ("ratio", {}, (1.0, 0.0)),
        ("ratio", {}, (1e30, 1e-30)),
        ("difference", {}, (None, 1.0)),
        ("difference", {}, (3e38, -3e38)),
        ("product", {}, (1.0, None)),
        ("product", {}, (1e30, 1e30)),
        ("elapsed", {"unit": "h"}, (None, CHRISTMAS_EVE)),
        ("elapsed", {"unit": "h"}, (CHRISTMAS_EVE, None)),
        ("text_length", {}, (None,)),
        ("binned", {"edges": [1]}, (None,)),
        ("holiday", CALENDAR, (None,)),
        ("holiday", CALENDAR, (datetime(2012, 12, 25),)),
        ("holiday", CALENDAR, (datetime(2015, 1, 1),)),
        ("log", {}, (None,)),
        ("log", {}, (-1.0,)),
        ("log", {}, (-5.0,)),
        ("lookup", {"table": {"B7": 0.25}, "default": 3.0}, (None,)),
        ("lookup", {"table": {"B7": 0.25}, "default": None}, ("C1",)),
    ],
)
def test_transform_gives_nan_when_there_is_no_value(
    name: str, options: dict[str, Any], inputs: tuple[Any, ...]
) -> None:
    assert math.isnan(transforms.make(name, options)(*inputs))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("square", {}),
        ("value", {"x": 1}),
        ("category", {}),
        ("calendar", {"part": "century"}),
        ("cyclic", {"part": "hour"}),
        ("cyclic", {"part": "hour", "function": "tan"}),
        ("elapsed", {"unit": "fortnight"}),
        ("binned", {"edges": []}),
        ("binned", {"edges": [2, 1]}),
        ("binned", {"edges": [1, math.nan]}),
        ("holiday", {"dates": ["Christmas"], "first_year": 2013, "last_year": 2014}),
    ],
)
def test_transform_is_refused_when_its_options_make_no_sense(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        transforms.make(name, options)
