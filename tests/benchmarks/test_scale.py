"""The tables of the scale benchmark are what it says: so many times the rows, each of them another one, in its month."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from benchmarks.training import scale
from harness.workspaces import Workspace


def test_copies_are_other_rows_and_a_next_month_lies_a_year_later(tmp_path: Path) -> None:
    time = datetime(2013, 1, 31, 23, 59)
    flights = pl.DataFrame({"flight": ["7", "8"], "scheduled_departure": [time] * 2, "scheduled_arrival": [time] * 2})
    flights.write_parquet(tmp_path / "2013-01.parquet")
    assert scale._write_tables(Workspace(tmp_path), tmp_path, ["2013-01", "2014-01"], 3) == 12
    first, following = (pl.read_parquet(tmp_path / "table" / f"{month}.parquet") for month in ("2013-01", "2014-01"))
    assert sorted(first["flight"]) == ["7-0", "7-1", "7-2", "8-0", "8-1", "8-2"]
    assert set(first["scheduled_departure"]) == {time}
    assert set(following["scheduled_departure"]) == {time.replace(year=2014)}
