"""The views that Great Expectations reads, and the table of repeated keys beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from pipelines.params.params import TargetParams
from pipelines.stages.validate import duckdb_views

TARGET = TargetParams(column="outcome", task="regression", labels=(), missing=1.0)


@pytest.mark.parametrize(
    "keys",
    [
        [("a", 1), ("a", 2), ("b", 1)],
        [("a", 1), ("a", 1), ("b", 1), ("a", 1), ("b", 1), ("c", 1)],
        [(None, 1), (None, 1), (None, None), ("a", None), ("a", None)],
        [],
    ],
)
def test_repeated_keys_are_counted_as_python_counts_them(
    keys: list[tuple[str | None, int | None]], tmp_path: Path
) -> None:
    import duckdb

    file, database = tmp_path / "visit=1" / "2024-01.parquet", tmp_path / "partitions.duckdb"
    file.parent.mkdir()  # which is no partition of Hive's
    schema = {"who": pl.String, "visit": pl.Int64}
    pl.DataFrame(keys, schema=schema, orient="row").write_parquet(file)

    duckdb_views.create_views(database, {"2024-01": file}, TARGET, ["who", "visit"])

    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f"SELECT copies FROM {duckdb_views.repeated_name('2024-01')}").fetchall()
    assert sorted(copies for (copies,) in found) == sorted(count for count in Counter(keys).values() if count > 1)
