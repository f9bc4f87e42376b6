"""History features: point in time correct, and the same to the last bit however they are computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.data.history import columns, windows
from pipelines.data.history.windows import Known, Rows, Windows
from pipelines.params.features.history import STATISTICS, period
from pipelines.params.features.transforms import histories
from pipelines.params.params import Params
from tests.pipelines.features.history.conftest import MEAN, Raw, Row

TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
NOON = datetime(2024, 2, 1, 12)


def _row(
    promised: datetime, delivered: datetime | None, lateness: float | None = 1.0, depot: str | None = "north"
) -> Row:
    return {"promised": promised, "delivered": delivered, "lateness": lateness, "depot": depot, "outcome": "kept"}


def _table(rows: list[Row]) -> pl.DataFrame:
    times = dict.fromkeys(("promised", "delivered"), pl.Datetime("us"))
    return pl.DataFrame(rows, schema={**times, "lateness": pl.Float64, "depot": pl.String, "outcome": pl.String})


def _compute(raw: Raw, features: Raw, rows: list[Row], earlier: list[Row] | None = None) -> pl.DataFrame:
    raw["features"] = features
    params = Params.model_validate(raw)
    declared = histories(params.features)
    return columns.compute(_table(rows), _table(earlier or []), declared, params.data, params.target)


def _at_noon(raw: Raw, feature: Raw, others: list[Row]) -> float | None:
    """Return the history of a row promised at noon, whose moment is 11:00."""
    found = _compute(raw, {"h": feature}, [*others, _row(NOON, None)])["h"]
    value: float | None = found[-1]
    return value


@pytest.mark.parametrize(
    ("known", "counts"),
    [
        (NOON - HOUR - TICK, True),
        (NOON - HOUR, False),
        (NOON - HOUR + TICK, False),
        (NOON - 3 * HOUR + TICK, True),
        (NOON - 3 * HOUR, True),
        (NOON - 3 * HOUR - TICK, False),
    ],
)
def test_event_counts_when_it_is_known_strictly_before_the_moment_and_within_the_window(
    raw: Raw, known: datetime, counts: bool
) -> None:
    event = _row(NOON - 9 * HOUR, known, 7.0)
    assert _at_noon(raw, MEAN, [event]) == (7.0 if counts else None)
    assert _at_noon(raw, MEAN | {"statistic": "count", "value": None}, [event]) == float(counts)


def test_moment_is_the_time_itself_when_the_horizon_is_zero(raw: Raw) -> None:
    events = [_row(NOON - 9 * HOUR, NOON - TICK, 3.0), _row(NOON - 9 * HOUR, NOON, 5.0)]
    assert _at_noon(raw, MEAN | {"horizon": "0min"}, events) == 3.0


def test_row_is_no_history_before_its_own_time_even_when_it_is_known_earlier(raw: Raw) -> None:
    early = _row(NOON, NOON - 5 * HOUR, 9.0)
    found = _compute(raw, {"h": MEAN | {"window": "9h"}}, [early, _row(NOON + 90 * timedelta(minutes=1), None)])["h"]
    assert found.to_list() == [None, 9.0]


def test_rows_without_a_time_a_value_or_a_group_do_not_count(raw: Raw) -> None:
    known = NOON - 2 * HOUR
    nothing = [_row(NOON - 9 * HOUR, None), _row(NOON - 9 * HOUR, known, None), _row(NOON - 9 * HOUR, known, 1.0, None)]
    beyond = _row(NOON - 9 * HOUR, known, 1001.0)  # a request with this value would be refused
    assert _at_noon(raw, MEAN | {"by": ["depot"]}, [*nothing, beyond]) is None
    assert _at_noon(raw, MEAN, [*nothing, beyond]) == 1.0
    without = [*nothing, _row(NOON, None, None, None)]
    count = {"h": MEAN | {"by": ["depot"], "statistic": "count", "value": None}}
    assert _compute(raw, count, without)["h"].to_list()[-1] is None


def test_outcome_is_a_value_by_its_label(raw: Raw) -> None:
    known = NOON - 2 * HOUR
    events = [
        _row(NOON - 9 * HOUR, known) | {"outcome": label} for label in ("kept", "broken", "broken", "broken", None)
    ]
    assert _at_noon(raw, MEAN | {"value": "outcome"}, events) == 0.75


def _random_rows(random: Random, count: int, start: datetime) -> list[Row]:
    """Rows with many equal times and values, and numbers whose float sum depends on their order."""
    rows = []
    for _ in range(count):
        promised = start + timedelta(minutes=30 * random.randrange(200))
        delivered = promised + timedelta(minutes=15 * random.randrange(-4, 40))
        value = random.choice([0.1, 0.2, 1 / 3, 1e-17, 999.5, -7.25, 3.0, random.uniform(-1000, 1000)])
        rows.append(
            _row(
                promised,
                random.choice([delivered, delivered, delivered, None]),
                random.choice([value, value, value, None]),
                random.choice(["north", "south", "west", None]),
            )
        )
    return sorted(rows, key=lambda row: row["promised"])


def _expected(row: Row, rows: list[Row], feature: Raw) -> float | None:
    """Return the history by definition: one row after another, in exact arithmetic."""
    by, statistic, window = feature.get("by", []), feature["statistic"], period(feature["window"])
    if any(row[name] is None for name in by):
        return None
    moment = row["promised"] - period(feature.get("horizon", "60min"))
    group = [other for other in rows if all(other[name] == row[name] for name in by)]
    known = [(max(other["delivered"], other["promised"]), other) for other in group if other["delivered"] is not None]
    if statistic == "pending":
        opened = [other for other in group if moment - window <= other["promised"] < moment]
        return float(len(opened) - sum(any(other is one for one in opened) and at < moment for at, other in known))
    found = [
        (at, other["lateness"])
        for at, other in known
        if moment - window <= at < moment and (other["lateness"] is not None or feature.get("value") is None)
    ]
    values = [value for _, value in found]
    if statistic == "count":
        return float(len(found))
    if statistic == "sum":
        return math.fsum(values)
    if not found:
        return None
    of: dict[str, Callable[[], float]] = {
        "mean": lambda: float(sum(map(Fraction, values)) / len(values)),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "last": lambda: max(found)[1],
        "age": lambda: (moment - max(at for at, _ in found)) / timedelta(minutes=1),
    }
    return of[statistic]()


def _feature(statistic: str, **keys: Any) -> Raw:
    value = "lateness" if STATISTICS[statistic].of_value else None
    return MEAN | {"statistic": statistic, "value": value} | keys


@pytest.mark.parametrize("by", [[], ["depot"]])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistic_is_what_its_definition_says(raw: Raw, statistic: str, by: list[str]) -> None:
    rows = _random_rows(Random(statistic), 250, NOON)
    feature = _feature(statistic, by=by, window="9h")
    found = _compute(raw, {"h": feature}, rows)["h"].to_list()
    expected = [_expected(row, rows, feature) for row in rows]
    assert [value is None for value in found] == [value is None for value in expected]
    numbers = [[value for value in values if value is not None] for values in (found, expected)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-15, abs=1e-12)
    assert len({value for value in found if value is not None}) > 2


def test_every_statistic_is_described_and_computed() -> None:
    assert windows.STATISTICS.keys() | {"pending"} == STATISTICS.keys()


@pytest.mark.parametrize("statistic", STATISTICS)
def test_history_does_not_change_when_every_later_event_is_removed(raw: Raw, statistic: str) -> None:
    rows = _random_rows(Random(1), 120, NOON)
    feature = _feature(statistic, by=["depot"], window="6h")
    whole = _compute(raw, {"h": feature}, rows)["h"].to_list()
    for index in range(0, len(rows), 7):
        moment = rows[index]["promised"] - HOUR
        # What a server could know at the moment: later times are blank, rows that had not begun are absent.
        known = [
            row | {"delivered": None, "lateness": None, "outcome": None}
            if row["delivered"] is None or row["delivered"] >= moment
            else row
            for row in rows
            if row["promised"] < moment
        ]
        alone = _compute(raw, {"h": feature}, [*known, rows[index] | {"delivered": None, "lateness": None}])["h"]
        assert alone[-1] == whole[index]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_history_has_the_same_bits_in_any_order_and_with_any_past(raw: Raw, statistic: str) -> None:
    random = Random(2)
    long_ago = _random_rows(random, 200, NOON - timedelta(days=300))
    huge = [row | {"lateness": random.uniform(-1000, 1000) * 1e-9} for row in long_ago]
    earlier, rows = _random_rows(random, 150, NOON - timedelta(days=4)), _random_rows(random, 60, NOON)
    features = {"h": _feature(statistic, window="3d", by=["depot"])}
    plain = _compute(raw, features, rows, earlier)["h"]
    random.shuffle(earlier)
    assert _compute(raw, features, rows, [*huge, *earlier])["h"].to_list() == plain.to_list()
    order = random.sample(range(len(rows)), len(rows))
    shuffled = _compute(raw, features, [rows[index] for index in order], earlier)["h"]
    assert shuffled.to_list() == [plain[index] for index in order]


@pytest.mark.parametrize(
    "values", [[1e16, 1.0, -1e16], [0.1] * 10, [1e300, 1.0, -1e300, 5e-324], [2.0**-1074, 2.0**60], [1 / 3, 1e-9, 7e8]]
)
def test_sum_is_exact_whatever_the_order(values: list[float]) -> None:
    for order in (values, values[::-1]):
        rows = Rows(np.zeros(len(values), np.int64), np.arange(len(values), dtype=np.int64))
        all_of_them = Windows(Known.of(rows, np.array(order)), np.array([9]), np.array([0]), np.array([len(values)]))
        assert windows.total(all_of_them)[0] == pytest.approx(math.fsum(values), rel=1e-15, abs=0)


def test_clock_change_moves_no_event_when_times_are_in_utc(raw: Raw) -> None:
    # New York, 3 November 2013: 01:30 comes twice, at 05:30 and 06:30 UTC.
    moment = datetime(2013, 11, 3, 6, 30)
    first, second = (
        _row(datetime(2013, 11, 2), datetime(2013, 11, 3, hour, 30) + tick, 5.0)
        for hour, tick in ((5, TICK), (6, TICK))
    )
    asked = _row(moment + HOUR, None)
    assert _compute(raw, {"h": MEAN}, [first, asked])["h"][-1] == 5.0
    assert _compute(raw, {"h": MEAN}, [second, asked])["h"][-1] is None
