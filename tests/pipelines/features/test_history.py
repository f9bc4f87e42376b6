"""History features: point in time correct, and the same to the last bit however they are computed."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from contract.files import sha256
from contract.model.encoder import Encoder
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.columns.golden import golden_rows
from pipelines.commands.monitor import command as monitor
from pipelines.data import tables
from pipelines.data.history import accepted, columns, partitions, windows
from pipelines.data.history.windows import Known, Rows, Windows
from pipelines.params import file as params_file
from pipelines.params.features.history import STATISTICS, period
from pipelines.params.features.transforms import histories
from pipelines.params.params import Params
from pipelines.stages.features import stage
from pipelines.statistics.comparable import obstacles
from tests.pipelines.conftest import deliveries

TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
NOON = datetime(2024, 2, 1, 12)
MEAN = {"transform": "history", "statistic": "mean", "value": "lateness", "known_at": "delivered", "window": "2h"}
Raw = dict[str, Any]
Row = dict[str, Any]


@pytest.fixture
def raw(raw: Raw) -> Raw:
    raw["data"]["columns"] |= {
        "delivered": {"kind": "timestamp", "known": "later"},
        "lateness": {"kind": "number", "known": "later", "unit": "min", "minimum": -1000, "maximum": 1000},
    }
    return raw


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


def _write(raw: Raw) -> Params:
    """Write three months of accepted rows, delivered up to five days late, in UTC; return the parameters."""
    random = Random(3)
    for month, days in (("2024-01", 31), ("2024-02", 29), ("2024-03", 31)):
        table = deliveries(datetime.strptime(month, "%Y-%m"), days)
        late = [timedelta(minutes=random.randrange(-60, 7200)) for _ in range(table.height)]
        rows = table.with_columns(
            delivered=table["promised"] + pl.Series(late, dtype=pl.Duration("us")),
            lateness=pl.Series([random.uniform(-100, 100) for _ in late]),
        )
        tables.write(rows, paths.accepted(month), ("promised", "delivered"))
    raw["features"] = {
        "distance": {"transform": "value"},
        "lateness_2h": MEAN | {"by": ["depot"]},
        "broken_28d": MEAN | {"value": "outcome", "window": "28d"},
        "open_3d": MEAN | {"statistic": "pending", "value": None, "window": "3d"},
    }
    return Params.model_validate(raw)


def _files() -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(paths.HISTORY.iterdir())}


def test_month_has_the_same_bytes_alone_live_and_in_a_backfill(workspace: Path, raw: Raw) -> None:
    params = _write(raw)
    stage.run(params)
    written = _files()
    assert list(written) == ["2024-01.parquet", "2024-02.parquet", "2024-03.parquet"]
    # Live: the next month does not exist yet.
    live = params.model_copy(update={"data": params.data.model_copy(update={"months": ("2024-01", "2024-02")})})
    march = paths.accepted("2024-03").rename(workspace / "march.parquet")
    stage.run(live)
    assert _files() == {name: written[name] for name in ("2024-01.parquet", "2024-02.parquet")}
    march.rename(paths.accepted("2024-03"))
    # One month alone, from all of the past.
    alone = partitions.of_month("2024-03", histories(params.features), params.data, params.target)
    tables.write(alone, workspace / "alone.parquet")
    assert sha256(workspace / "alone.parquet") == written["2024-03.parquet"]


def test_first_rows_of_a_month_see_the_month_before(workspace: Path, raw: Raw) -> None:
    params = _write(raw)
    stage.run(params)
    first = accepted.read(["2024-02"])
    assert first["broken_28d"].null_count() == 0
    assert first["open_3d"][0] > 0
    february = tables.read(paths.accepted("2024-02"))
    without = columns.compute(february, february.clear(), histories(params.features), params.data, params.target)
    assert without["broken_28d"][0] is None
    assert without["open_3d"][0] == 0


def test_late_data_of_an_old_month_changes_what_hangs_on_it_alone(workspace: Path, raw: Raw) -> None:
    params = _write(raw)
    stage.run(params)
    before = _files()
    february = tables.read(paths.accepted("2024-02"))
    tables.write(february.head(-1), paths.accepted("2024-02"), ("promised", "delivered"))
    stage.run(params)
    after = _files()
    assert [name for name in before if before[name] != after[name]] == ["2024-02.parquet", "2024-03.parquet"]


def test_request_carries_the_history_as_the_table_has_it(workspace: Path, raw: Raw) -> None:
    params = _write(raw)
    stage.run(params)
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    fields = {field.name: field for field in schema.fields}
    assert list(fields) == ["distance", "lateness_2h", "broken_28d", "open_3d"]
    late = fields["lateness_2h"]
    assert (late.kind, late.required, late.unit, late.minimum) == ("number", False, "min", None)
    assert late.description == (
        "history: mean of lateness by depot, of the rows with delivered in the 2h up to 60min before promised"
    )
    assert (fields["broken_28d"].minimum, fields["broken_28d"].maximum) == (0.0, 1.0)
    assert (fields["open_3d"].unit, fields["open_3d"].minimum) == ("rows", 0.0)
    rows = accepted.read(["2024-03"], list(fields))
    encoder = Encoder(schema)
    asked, _ = encoder.encode_rows(rows.to_dicts())
    np.testing.assert_array_equal(asked, encoder.encode_table(tables.columns_of(rows, rows.columns)))
    matrix, fallbacks = encoder.encode_rows([{"distance": 1.0}])
    assert np.isnan(matrix[0, 1:]).all()
    assert {entry["field"] for entry in fallbacks[0]} == set(fields) - {"distance"}
    encoder.encode_rows(golden_rows(schema, 32))
    # Nothing of the history travels: only the fields do.
    assert {feature.transform for feature in schema.features} == {"value"}
    assert all(not feature.options for feature in schema.features)


def test_history_by_personal_data_is_personal_data(raw: Raw, workspace: Path) -> None:
    raw["data"]["columns"]["order"]["pii"] = True
    _write(raw)
    raw["features"]["by_order"] = MEAN | {"by": ["order"]}
    stage.run(Params.model_validate(raw))
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    assert "by_order" not in schema.open_features
    assert "lateness_2h" in schema.open_features


def test_local_times_are_not_compared_with_times_in_utc(raw: Raw, workspace: Path) -> None:
    params = _write(raw)
    for month in params.data.months:
        tables.write(tables.read(paths.accepted(month)), paths.accepted(month), ("delivered",))
    with pytest.raises(ConfigurationError, match=r"features\.lateness_2h: 'promised' has local times.*utc_of it"):
        stage.run(params)
    for month in params.data.months:
        table = tables.read(paths.accepted(month)).with_columns(promised_utc=pl.col("promised").dt.offset_by("5h"))
        tables.write(table, paths.accepted(month), ("delivered", "promised_utc"))
    raw["data"]["columns"]["promised_utc"] = {"kind": "timestamp", "utc_of": "promised"}
    stage.run(Params.model_validate(raw))
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    assert "promised_utc" not in {field.name for field in schema.fields}
    assert "before promised_utc" in str(schema.fields[1].description)


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"known_at": "arrived"}, ["features.h.known_at", "'arrived'", "data.columns does not have"]),
        ({"known_at": "lateness"}, ["features.h.known_at", "'lateness'", "kind number", "timestamp"]),
        ({"known_at": None}, ["features.h.known_at", "must be text"]),
        ({"window": "2 hours"}, ["features.h.window", "'2 hours'", "30min, 2h or 28d"]),
        ({"window": "0h"}, ["features.h", "window", "longer than 0"]),
        ({"window": "1mo"}, ["features.h.window", "'1mo'", "30min, 2h or 28d"]),
        ({"horizon": "-1h"}, ["features.h.horizon", "'-1h'"]),
        ({"statistic": "median"}, ["features.h.statistic", "'median'", "'pending'"]),
        ({"statistic": "count"}, ["features.h.value", "sum, mean, min, max, last need a value"]),
        ({"value": None}, ["features.h.value", "sum, mean, min, max, last need a value"]),
        ({"value": "late"}, ["features.h.value", "'late'", "data.columns does not have"]),
        ({"value": "depot"}, ["features.h.value", "'depot'", "number or boolean"]),
        ({"by": ["carrier"]}, ["features.h.by", "'carrier'", "data.columns does not have"]),
        ({"by": ["distance"]}, ["features.h.by", "'distance'", "category, identifier, boolean"]),
        ({"by": ["taken_by"]}, ["features.h.by", "'taken_by'", "known: later"]),
    ],
)
def test_history_is_refused_by_its_key_when_it_does_not_suit_the_table(
    tmp_path: Path, raw: Raw, change: Raw, said: list[str]
) -> None:
    raw["data"]["columns"]["taken_by"] = {"kind": "category", "known": "later"}
    _refused(tmp_path, raw | {"features": {"h": MEAN | change}}, said)


def test_history_is_refused_without_a_time_or_under_the_name_of_a_column(tmp_path: Path, raw: Raw) -> None:
    _refused(tmp_path, raw | {"features": {"lateness": MEAN}}, ["features.lateness", "rename the feature"])
    raw["data"] |= {"time": None, "months": ["all"]}
    raw["split"] = {"kind": "stratified"}
    _refused(tmp_path, raw | {"features": {"h": MEAN}}, ["features.h", "data.time"])


@pytest.mark.parametrize(
    "feature",
    [
        {"transform": "value", "input": "lateness"},
        {"transform": "calendar", "input": "delivered", "part": "hour"},
        {"transform": "ratio", "inputs": ["distance", "lateness"]},
        {"transform": "lookup", "input": "depot", "statistic": "mean", "of": "lateness"},
    ],
)
def test_column_that_is_known_later_is_refused_to_every_other_transform(tmp_path: Path, raw: Raw, feature: Raw) -> None:
    _refused(tmp_path, raw | {"features": {"leak": feature}}, ["features.leak", "known: later", "only the transform"])


@pytest.mark.parametrize(
    ("column", "keys", "said"),
    [
        ("delivered", {"required": True}, ["data.columns.delivered", "required is about requests"]),
        ("promised", {"known": "later"}, ["'promised'", "known: later"]),
        ("distance", {"utc_of": "promised"}, ["data.columns.distance", "utc_of goes with a timestamp"]),
        ("promised", {"utc_of": "when"}, ["columns.promised.utc_of", "'when'"]),
    ],
)
def test_declaration_of_a_column_is_refused_when_it_contradicts_itself(
    tmp_path: Path, raw: Raw, column: str, keys: Raw, said: list[str]
) -> None:
    raw["data"]["columns"][column] |= keys
    _refused(tmp_path, raw, said)


def _refused(tmp_path: Path, raw: Raw, said: list[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigurationError) as caught:
        params_file.load(path)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    for words in said:
        assert words in str(caught.value)


def test_live_model_is_not_compared_when_a_history_is_defined_otherwise(raw: Raw, workspace: Path) -> None:
    params = _write(raw)
    stage.run(params)
    live = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())

    def told(changed: Raw) -> str:
        now = Params.model_validate(changed)
        return "; ".join(map(str, obstacles(live, now.data, now.target, now.features)))

    assert told(raw) == ""
    raw["features"]["lateness_2h"]["window"] = "3h"
    assert "'lateness_2h': its description is" in told(raw)
    assert "that of features.lateness_2h" in told(raw)
    del raw["features"]["lateness_2h"]
    assert "'lateness_2h': it reads this field, which params.yaml no longer has" in told(raw)


def test_monitor_computes_the_history_of_the_month_that_it_scores(raw: Raw, workspace: Path) -> None:
    params = _write(raw)
    stage.run(params)
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    expected = accepted.read(["2024-03"]).drop_nulls("outcome")
    shutil.rmtree(paths.FEATURES)  # the month is newer than the run of the stage
    seen: dict[str, list[Any]] = {}

    def score_table(columns: dict[str, list[Any]]) -> Any:
        seen.update(columns)
        return np.zeros(len(columns["distance"]))

    monitor._judged("2024-03", params, SimpleNamespace(schema=schema, score_table=score_table))
    for name in ("lateness_2h", "broken_28d"):
        np.testing.assert_array_equal(
            np.array(seen[name], float), expected[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        )
