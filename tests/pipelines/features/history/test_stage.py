"""History features through the stages: the same bytes in every run, what travels with a bundle, and what reads them."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigurationError
from contract.files import sha256
from contract.model.encoder import Encoder
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.columns.golden import golden_rows
from pipelines.commands.monitor import command as monitor
from pipelines.data import tables
from pipelines.data.history import accepted, columns, partitions
from pipelines.params.features.transforms import histories
from pipelines.params.params import Params
from pipelines.stages.features import stage
from pipelines.statistics.comparable import obstacles
from tests.pipelines.conftest import deliveries
from tests.pipelines.features.history.conftest import MEAN, Raw


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
