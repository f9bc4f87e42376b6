"""What a draft makes of months: those that are not there to their end, holes between them, and a split that fits."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines import __main__ as command
from pipelines import paths
from pipelines.commands.draft.doubts import Weight
from pipelines.commands.draft.rows import periods
from pipelines.data import splits
from pipelines.params import file as params_file
from pipelines.params.params import TemporalSplit
from pipelines.stages.collect import stage as collect
from pipelines.stages.validate import stage as validate
from tests.pipelines.conftest import deliveries


def _moments(*spans: tuple[str, int]) -> pl.Series:
    """Four moments a day, for each span from its first day and for so many days."""
    starts = [(datetime.fromisoformat(first), days) for first, days in spans]
    return pl.Series("at", [start + timedelta(hours=6 * step) for start, days in starts for step in range(4 * days)])


@pytest.mark.parametrize(
    ("spans", "months", "expected"),
    [
        ([("2024-01-01", 182)], "01 02 03 04 05 06", ("1mo", "1mo")),
        ([("2024-01-01", 91)], "01 02 03", ("1mo", "10d")),
        ([("2024-01-01", 31)], "01", ("7d", "5d")),
        ([("2024-04-29", 1), ("2024-05-02", 30)], "04 05", ("7d", "5d")),  # a first month of one day
        ([("2024-04-29", 1), ("2024-05-02", 30), ("2024-06-01", 8)], "04 05 06", ("1mo", "10d")),  # and one under way
        (
            [("2024-01-01", 60), ("2024-05-01", 31)],
            "01 02 05",
            ("21d", "7d"),
        ),  # no row in the 10 days before the last month
        ([("2024-01-01", 40), ("2024-03-01", 2)], "01 02 03", ("58d", "7d")),  # two days at the start of the last month
    ],
)
def test_split_is_the_first_that_leaves_rows_in_every_part(
    spans: list[tuple[str, int]], months: str, expected: tuple[str, str]
) -> None:
    names, moments = [f"2024-{month}" for month in months.split()], _moments(*spans)
    split, doubts = periods.propose(moments, names)
    assert (split["holdout"], split["validation"]) == expected
    assert [doubt.weight for doubt in doubts] == [Weight.BOUNDS] * len(doubts)
    bounds = splits.boundaries(names, TemporalSplit(**split))
    assert (moments < bounds.training_end).mean() >= 0.5
    assert moments.is_between(bounds.validation, bounds.validation_end, closed="left").any()
    held = moments.filter(moments >= bounds.holdout)
    days = held.dt.date().n_unique()
    assert days
    assert [doubt.keys for doubt in doubts[1:]] == ([{"gates.clusters": max(days, 2)}] if days < 20 else [])


def test_split_that_no_period_fits_is_the_first_question() -> None:
    _, doubts = periods.propose(_moments(("2024-03-05", 1)), ["2024-03"])
    assert [doubt.weight for doubt in doubts] == [Weight.FIGURES]


@pytest.mark.parametrize("options", [[], ["--unfinished"]])
def test_month_under_way_is_left_out_or_used_as_it_is_and_a_hole_is_named(workspace: Path, options: list[str]) -> None:
    parts = [deliveries(datetime(2024, month, 1), days) for month, days in ((1, 31), (2, 29), (4, 30), (5, 12))]
    pl.concat(parts).write_csv("t.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    arguments = ["draft", "t.csv", "--target", "outcome", "--time", "promised", "--out", "params.yaml", *options]
    assert command.main(arguments) == 0
    text, months = Path("params.yaml").read_text(), params_file.load().data.months
    assert months == ("2024-01", "2024-02", "2024-04", "2024-05")[: 4 if options else 3]
    assert "2024-03 has no rows, between months that have some: were they lost?" in text
    told = "11.8% of the rows are left out with 2024-05, since it ends on 2024-05-12. Will no more rows arrive? Then draft again with"
    assert (told in text) == (not options)
    for month in months:
        collect.run(params_file.load(), month)
    validate.run(params_file.load())


@pytest.mark.parametrize(
    ("options", "months"),
    [([], ("2024-01", "2024-02")), (["--unfinished"], ("2023-12", "2024-01", "2024-02", "2024-03"))],
)
def test_months_at_the_edges_of_a_table_in_local_time_are_left_out(
    workspace: Path, options: list[str], months: tuple[str, ...]
) -> None:
    """By Berlin's clock January and February; in UTC the first hour is December's, and the last row, of no file, March's."""
    rows = deliveries(datetime(2024, 1, 1), 60).with_columns(
        pl.col("promised").dt.replace_time_zone("Europe/Berlin"), pl.col("outcome").fill_null("kept")
    )
    late = rows[-1:].with_columns(order=pl.lit("late"), promised=pl.col("promised").dt.offset_by("31d"))
    pl.concat([rows, late]).write_csv("t.csv", datetime_format="%Y-%m-%dT%H:%M:%S%:z")
    arguments = ["draft", "t.csv", "--target", "outcome", "--time", "promised", "--out", "params.yaml", *options]
    assert command.main(arguments) == 0
    text = Path("params.yaml").read_text()
    assert params_file.load().data.months == months
    told = "left out with 2023-12, since it has 1 where a usual month has "
    assert (told in text) == (not options)


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("s", pl.col("promised").dt.epoch("s")),
        ("ms", pl.col("promised").dt.epoch("ms")),
        ("us", pl.col("promised").dt.epoch("us")),
        ("yyyymmdd", pl.col("promised").dt.strftime("%Y%m%d")),
    ],
)
def test_time_that_is_a_number_has_its_unit(
    workspace: Path, unit: str, written: pl.Expr, capsys: pytest.CaptureFixture[str]
) -> None:
    deliveries(datetime(2024, 1, 1), 60).with_columns(promised=written).rename({"promised": "date"}).write_csv("t.csv")
    assert command.main(["draft", "t.csv", "--target", "outcome", "--time", "date", "--out", "params.yaml"]) == 0
    params = params_file.load()
    assert (params.data.columns["date"].unit, params.data.months) == (unit, ("2024-01", "2024-02"))
    collect.run(params, "2024-01")
    at = pl.read_parquet(paths.partition("2024-01"))["date"]
    assert at.min() == datetime(2024, 1, 1)
    capsys.readouterr()
    assert command.main(["draft", "t.csv", "--target", "outcome"]) == 0
    assert "draft again with --time date" in capsys.readouterr().err
