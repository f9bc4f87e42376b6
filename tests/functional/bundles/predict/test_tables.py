"""The table that `python -m pipelines predict` reads: what it makes of the pipeline's own files, and of the names to keep."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contract.errors import ConfigurationError
from pipelines.commands.predict import cli, tables
from pipelines.data import tables as partitions

AT = datetime(2026, 3, 29, 0, 30)


def test_times_of_an_accepted_month_are_in_utc_when_they_had_an_offset(tmp_path: Path) -> None:
    month = pl.DataFrame({"at": [AT], "local": [AT], "order": ["a"]})
    partitions.write(month, tmp_path / "2026-03.parquet", in_utc=("at",))
    for place in (tmp_path / "2026-03.parquet", tmp_path):
        with tables.opened(str(place)) as table:
            (rows,) = table.batches(["at", "local"])
            assert table.schema == {"at": pl.Datetime("us", "UTC"), "local": pl.Datetime("us"), "order": pl.String}
        assert rows.rows() == [(AT.replace(tzinfo=UTC), AT)]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("", []),
        (" order , id", ["order", "id"]),
        ('"Distance, km", id', ["Distance, km", "id"]),
        ("*", ["order", "id", "Distance, km"]),
    ],
)
def test_columns_to_keep_are_named_with_commas_in_quotes(keep: str, kept: list[str]) -> None:
    assert cli.kept(keep, ["order", "id", "Distance, km"]) == kept


def test_name_with_a_comma_is_two_names_without_quotes() -> None:
    with pytest.raises(ConfigurationError, match=r"--keep names 'Distance', .* a name with a comma"):
        cli.kept("Distance, km", ["Distance, km"])
