"""The table that `python -m pipelines predict` reads: what it makes of the pipeline's own files, and of the names to keep."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contract.errors import ConfigurationError, DataRejectedError
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


def test_times_that_another_program_changed_stay_as_they_are_when_it_kept_the_metadata(tmp_path: Path) -> None:
    zoned, nanoseconds = pl.Datetime("us", "Europe/Berlin"), pl.Datetime("ns")
    table = pl.DataFrame({"text": ["00:30"], "day": [AT.date()], "zoned": [AT], "fine": [AT]}).with_columns(
        pl.col("zoned").dt.replace_time_zone("Europe/Berlin"), pl.col("fine").cast(nanoseconds)
    )
    partitions.write(table, tmp_path / "a.parquet", in_utc=("dropped", "text", "day", "zoned", "fine"))
    with tables.opened(str(tmp_path / "a.parquet")) as opened:
        (rows,) = opened.batches(table.columns)
        expected = {"text": pl.String, "day": pl.Date, "zoned": zoned, "fine": pl.Datetime("ns", "UTC")}
        assert opened.schema == expected
    assert rows.equals(table.with_columns(pl.col("fine").dt.replace_time_zone("UTC")))


def test_broken_file_is_not_said_to_be_deleted(tmp_path: Path) -> None:
    customers = tmp_path / "customers.parquet"
    pl.DataFrame({"id": range(1000)}).write_parquet(customers)
    customers.write_bytes(customers.read_bytes()[:-20])
    with pytest.raises(DataRejectedError) as caught, tables.opened(str(customers)):
        pass
    assert str(caught.value).startswith(f"{customers} cannot be read (")
    assert "delete" not in str(caught.value)


COLUMNS = ["order", "id", "Distance, km", "Distance\n(km)", '"quoted"', 'so "called"', " blank "]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("", []),
        (" , ", []),
        (" order , id", ["order", "id"]),
        ("order,id,order", ["order", "id"]),
        ('"Distance, km", id', ["Distance, km", "id"]),
        ('id,"Distance, km" ', ["id", "Distance, km"]),
        ("Distance\n(km), id", ["Distance\n(km)", "id"]),
        ('"Distance\n(km)",id', ["Distance\n(km)", "id"]),
        ('"quoted",id', ['"quoted"', "id"]),
        ('"""quoted"""', ['"quoted"']),
        ('so "called",id', ['so "called"', "id"]),
        ('"so ""called""",id', ['so "called"', "id"]),
        ('id," blank "', ["id", " blank "]),
        ("*", COLUMNS),
    ],
)
def test_columns_to_keep_are_named_with_commas_in_quotes(keep: str, kept: list[str]) -> None:
    assert cli.kept(keep, COLUMNS) == kept


@pytest.mark.parametrize(("keep", "named"), [('"order', '"order'), ('"', '"'), ("a\nb", "a\nb"), ("blank ", "blank")])
def test_name_that_the_table_lacks_is_said_as_it_was_read(keep: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cli.kept(keep, COLUMNS)
    assert str(caught.value).startswith(f"--keep names {named!r}, which the table does not have")


def test_name_with_a_comma_is_two_names_without_quotes() -> None:
    with pytest.raises(ConfigurationError, match=r"--keep names 'Distance', .* a name with a comma"):
        cli.kept("Distance, km", ["Distance, km"])
