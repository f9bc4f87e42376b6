"""A draft loads as it is, and says what it was unsure of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import EXIT_CONFIGURATION
from pipelines import __main__ as command
from pipelines import paths
from pipelines.commands.draft.columns import ranges
from pipelines.commands.draft.columns.inference import guess
from pipelines.commands.draft.rows import partitions
from pipelines.commands.draft.rows.outcome import guess_outcome
from pipelines.params import file as params_file
from pipelines.stages.collect import stage
from pipelines.stages.features import stage as features
from pipelines.stages.validate import stage as validate
from tests.pipelines.conftest import deliveries


def draft(*options: str) -> str:
    assert command.main(["draft", "t.csv", "--target", "outcome", "--out", "params.yaml", *options]) == 0
    return Path("params.yaml").read_text()


def test_draft_of_a_table_with_time_collects_as_it_is(workspace: Path) -> None:
    table = deliveries(datetime(2024, 1, 1), 60).with_columns(
        known_too_late=pl.col("outcome"), email=pl.format("{}@example.org", "order"), constant=pl.lit("x"),
        delay=pl.when(pl.col("weight") > 7).then(-1.0).otherwise("weight"),
    )  # fmt: skip
    table.write_csv("t.csv", separator=";", null_value="?", datetime_format="%Y-%m-%d %H:%M:%S")
    text = draft("--time", "promised")
    params = params_file.load()
    assert (params.target.task, sorted(params.target.labels)) == ("binary", ["broken", "kept"])
    assert params.data.months == ("2024-01", "2024-02")
    assert params.data.source.separator == ";"
    assert params.data.source.missing == ("?",)
    kinds = {name: column.kind for name, column in params.data.columns.items()}
    assert kinds == {
        "promised": "timestamp", "depot": "category", "distance": "number", "weight": "number", "order": "identifier",
        "email": "identifier", "delay": "number", "known_too_late": "category"}  # fmt: skip
    assert params.data.columns["email"].pii
    assert params.data.key == ("order",)
    assert params.data.source.drop == ("constant",)
    doubts = ("avoids 100% of the errors", "constant is left out", 'missing_values: ["-1"]', "personal data?")
    assert [doubt for doubt in doubts if doubt not in text] == []
    assert "known_too_late" not in params.features
    stage.run(params, "2024-01")
    assert pl.read_parquet(paths.partition("2024-01")).height == 620


@pytest.mark.parametrize(
    ("values", "labels"),
    [(["paid", "open", "paid"], ["paid", "open"]), (["yes", "yes", "no"], ["no", "yes"]), (["b", "a"], ["a", "b"])],
    ids=["the rarer one is positive", "unless the words say", "equally many"],
)
def test_draft_finds_the_positive_label(values: list[str], labels: list[str]) -> None:
    assert guess_outcome(pl.Series("outcome", values)).declared["labels"] == labels


@pytest.mark.parametrize(("labels", "task"), [(2, "binary"), (3, "multiclass"), (200, "regression")])
def test_draft_finds_the_task(workspace: Path, labels: int, task: str) -> None:
    pl.DataFrame(
        {"size": [float(i * 37 % 101) for i in range(400)], "outcome": [i * 7 % labels for i in range(400)]}
    ).write_csv("t.csv")
    draft()
    params = params_file.load()
    assert (params.target.task, params.data.months, params.data.key) == (task, ("all",), ())


def test_draft_names_parts_that_add_up_to_the_target(workspace: Path) -> None:
    rows = [{"a": i * 31 % 97, "b": i * 17 % 89, "c": i * 7 % 53} for i in range(300)]
    pl.DataFrame(rows).with_columns(outcome=pl.col("a") + pl.col("b")).write_csv("t.csv")
    assert "a: a + b is the target" in draft()
    assert set(params_file.load().features) == {"c"}


def test_draft_asks_about_a_column_that_is_one_to_one_with_another(workspace: Path) -> None:
    rows = [{"code": i * 31 % 7, "name": "nmlkjih"[i * 31 % 7], "other": i % 7 * (i % 2)} for i in range(300)]
    pl.DataFrame(rows).with_columns(outcome=pl.Series(["no", "yes", "yes"] * 100)).write_csv("t.csv")
    told = draft()
    assert "name: one to one with code" in told
    assert told.count("one to one with") == 1


def _columns(table: dict[str, Any]) -> dict[str, Any]:
    rows = len(next(iter(table.values())))
    pl.DataFrame({**table, "outcome": [row * 7 % 2 for row in range(rows)]}).write_csv("t.csv")
    draft()
    return params_file.load().data.columns


def test_number_that_comes_back_is_an_identifier_and_splits_the_table(workspace: Path) -> None:
    draw = np.random.default_rng(5)
    patients = draw.integers(10**9, 10**14, 600)
    columns = _columns(
        {
            "PatientId": draw.choice(patients, 2_400) + 0.5,
            "subject": draw.choice(draw.integers(0, 10**12, 1_900), 2_400),
            "size": draw.gamma(2, 3, 2_400),
        }
    )
    assert [(columns[name].kind, columns[name].pii) for name in list(columns)[:2]] == [
        ("identifier", True),
        ("identifier", False),
    ]
    split = params_file.load().split
    assert (split.kind, split.column) == ("grouped", "subject")
    assert not [
        line for line in Path("params.yaml").read_text().splitlines() if "PatientId" in line and "kind: number" in line
    ]


def test_strong_feature_of_a_regression_stays_and_a_strange_one_is_named_first(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(5)
    weight = draw.gamma(2, 1, 3_000)
    price = weight**2 * draw.uniform(0.8, 1.25, 3_000)
    table = {"weight": weight, "noise": draw.normal(size=3_000), "more": draw.normal(size=3_000), "outcome": price}
    pl.DataFrame(table).write_csv("t.csv")
    text = draft()
    assert "weight" in params_file.load().features
    first = next(line for line in text.splitlines() if line.startswith("# ?"))
    assert first.startswith("# ? weight: alone it explains ")
    assert "far more than other features" in first
    assert "weight: alone it explains" in capsys.readouterr().err


def test_range_is_of_the_name_or_round_and_wider_than_what_was_seen(workspace: Path) -> None:
    ages = [18 + row % 80 for row in range(400)]
    columns = _columns(
        {
            "age": ages,
            "amount": [row % 97 + 0.5 for row in range(400)],
            "pressure": [990 + row % 46 + 0.25 for row in range(400)],
            "change": [row % 21 - 10.5 for row in range(400)],
            "latitude": [47 + row % 7 / 10 for row in range(400)],
        }
    )
    bounds = {name: (column.minimum, column.maximum) for name, column in columns.items()}
    assert bounds == {
        "age": (0, 120), "amount": (0, 160), "pressure": (960, 1060), "change": (-25, 20), "latitude": (-90, 90),
    }  # fmt: skip
    text = Path("params.yaml").read_text()
    assert "# seen: 18 to 97; the bounds follow from its name" in text
    assert "# seen: 990.25 to 1035.25\n" in text


@pytest.mark.parametrize(
    ("low", "high"), [(-1e300, 1e300), (0.0, 5e-324), (7.0, 7.0), (0.0, 0.0), (-3.0, -1.0), (1e9, 1e9 + 1)]
)
def test_widened_range_holds_what_was_seen(low: float, high: float) -> None:
    minimum, maximum = ranges.widened(low, high)
    assert np.isfinite([minimum, maximum]).all()
    assert minimum <= max(low, -1e38) <= min(high, 1e38) <= maximum


def test_time_between_two_times_is_proposed_from_the_earlier_to_the_later(workspace: Path) -> None:
    at = pl.Series([datetime(2024, 1, 1) + timedelta(hours=row) for row in range(1_440)])
    ahead = pl.Series([timedelta(hours=5 + row * 7 % 40) for row in range(1_440)])
    table = pl.DataFrame(
        {
            "booked": at - ahead,
            "at": at,
            "zoned": at.dt.replace_time_zone("UTC"),
            "outcome": pl.Series(range(1_440)) * 7 % 5 % 2,
        }
    )
    table.write_csv("t.csv")
    feature = r"features\.(\w+): (.*elapsed.*)\n"
    for options in (("--time", "at"), ()):
        expected = [("at_since_booked", "{transform: elapsed, inputs: [booked, at], unit: h}")]
        assert re.findall(feature, draft(*options)) == expected  # of no other two, for `zoned` alone has an offset
        Path("params.yaml").unlink()


@pytest.mark.parametrize(
    "outcomes", [("kept", "late"), ("a", "b", "c"), range(400)], ids=["binary", "labels", "number"]
)
def test_missing_values_are_proposed_as_a_feature_where_they_go_with_the_outcome(
    workspace: Path, outcomes: Sequence[Any]
) -> None:
    draw = np.random.default_rng(3)
    of_row = draw.integers(0, len(outcomes), 3_000)
    telling = draw.random(3_000) < np.where(of_row < len(outcomes) / 2, 0.1, 0.3)
    pl.DataFrame(
        {
            "telling": np.where(telling, None, draw.gamma(2, 3, 3_000).round(1)).tolist(),
            "random": np.where(draw.random(3_000) < 0.2, None, draw.gamma(2, 3, 3_000).round(1)).tolist(),
            "outcome": [outcomes[index] for index in of_row],
        }
    ).write_csv("t.csv")
    proposed = re.findall(r"features\.(\w+): (\{transform: is_missing.*\})\n", draft())
    assert proposed == [("telling_is_missing", "{transform: is_missing, input: telling}")]


def test_codes_with_leading_zeros_are_no_numbers_and_thousands_are_told(workspace: Path) -> None:
    zips = [f"{501 + row % 40 * 2_231:05}" for row in range(400)]
    sales = [f"{1_234.5 + row % 90 * 100:,.1f}" for row in range(400)]
    whole = [f"{1_234 + row % 90 * 100:,}" for row in range(400)]
    german = [f"{1_234.5 + row:,.2f}".translate(str.maketrans(",.", ".,")) for row in range(400)]
    columns = _columns(
        {"zip": zips, "sales": sales, "whole": whole, "german": german, "size": [row % 31 for row in range(400)]}
    )
    assert {name: column.kind for name, column in columns.items()} == {"zip": "category", "size": "number"}
    source = params_file.load().data.source
    assert (source.drop, source.decimal) == (("sales", "whole", "german"), ".")
    assert "sales is left out, as its numbers have thousands separators" in Path("params.yaml").read_text()


def test_parquet_of_all_types_is_drafted_and_runs(workspace: Path) -> None:
    rows = range(400)
    at = pl.Series([datetime(2024, 1, 1) + timedelta(hours=row) for row in rows])
    pl.DataFrame(
        {
            "whole": [row % 37 for row in rows],
            "floating": pl.Series([row % 50 / 4 for row in rows], dtype=pl.Float32),
            "decimal": pl.Series([row % 50 / 4 for row in rows]).cast(pl.Decimal(9, 2)),
            "flag": [row % 3 == 0 for row in rows],
            "code": pl.Series([float(row % 2) for row in rows]),
            "day": at.dt.date(),
            "at": at,
            "zoned": at.dt.replace_time_zone("Europe/Berlin", ambiguous="earliest", non_existent="null"),
            "coded": pl.Series([f"c{row % 4}" for row in rows], dtype=pl.Categorical),
            "took": [timedelta(seconds=row) for row in rows],
            "tags": [[row] for row in rows],
            "place": [{"x": row} for row in rows],
            "outcome": [row * 7 % 2 for row in rows],
        }
    ).write_parquet("t.parquet")
    assert command.main(["draft", "t.parquet", "--target", "outcome", "--out", "params.yaml"]) == 0
    params = params_file.load()
    assert {name: column.kind for name, column in params.data.columns.items()} == {
        "whole": "number", "floating": "number", "decimal": "number", "flag": "boolean", "code": "boolean", "day": "timestamp",
        "at": "timestamp", "zoned": "timestamp", "coded": "category"}  # fmt: skip
    assert params.data.source.drop == ("took", "tags", "place")
    text = Path("params.yaml").read_text()
    assert "tags is left out, as the source has the column 'tags' as List(Int64)" in text
    stage.run(params, "all")
    validate.run(params)
    features.run(params)


def test_words_for_true_and_false_are_booleans_as_collect_reads_them(workspace: Path) -> None:
    words = ["Yes", "no ", " YES", "No"]
    assert _columns({"flag": [words[row % 4] for row in range(400)]})["flag"].kind == "boolean"


def test_number_that_is_no_float32_is_told_as_a_word_would_be(workspace: Path) -> None:
    columns = _columns({"size": ["1e39" if row == 7 else str(row % 50 / 4) for row in range(400)]})
    assert (columns["size"].kind, columns["size"].missing_values) == ("number", ("1e39",))
    assert "numbers, except 1e39, taken for missing values" in Path("params.yaml").read_text()


def test_one_word_among_numbers_is_a_missing_value_even_in_most_rows() -> None:
    values = ["k.A."] * 600 + [f"{number / 4:g}" for number in range(400)]
    found = guess(pl.Series("value", values))
    assert (found.kind, found.declared["missing_values"]) == ("number", ["k.A."])
    assert guess(pl.Series("value", [*values, *["n/a", "?"] * 100])).kind != "number"


def test_word_for_missing_does_not_hide_decimal_commas_and_categories_stay_as_written(workspace: Path) -> None:
    rows = range(400)
    table = {
        "value": ["k.A." if row % 2 else f"{row},{row % 7}5" for row in rows],
        "size": [["5,5", "6,1", "7,2", "k.A."][row % 4] for row in rows],
        "outcome": ["ab"[row % 3 > 0] for row in rows],
    }
    pl.DataFrame(table).write_csv("t.csv", separator=";")
    draft()
    params = params_file.load()
    columns = params.data.columns
    assert (params.data.source.decimal, columns["value"].kind) == (",", "number")  # type: ignore[union-attr]
    assert columns["value"].missing_values == ("k.A.",)
    assert (columns["size"].kind, columns["size"].values) == ("category", ("5,5", "6,1", "7,2", "k.A."))
    stage.run(params, "all")
    validate.run(params)


def test_draft_never_overwrites_and_names_a_wrong_column(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"a": [1, 2, 3], "outcome": ["x", "y", "x"]}).write_csv("t.csv")
    Path("params.yaml").write_text("mine")
    assert command.main(["draft", "t.csv", "--target", "outcome", "--out", "params.yaml"]) == EXIT_CONFIGURATION
    assert Path("params.yaml").read_text() == "mine"
    assert command.main(["draft", "t.csv", "--target", "gone"]) == EXIT_CONFIGURATION
    assert "no column 'gone'; the columns are a, outcome" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rule", "freshness"),
    [
        (lambda day: True, "2d"),
        (lambda day: day.weekday() < 5, "4d"),
        (lambda day: day.weekday() == 0, "8d"),
        (lambda day: day.day == 1, "1mo"),
        (lambda day: day.month != 3 or day.day < 10, "2d"),  # one month was cut
    ],
    ids=["daily", "working days", "weekly", "first of the month", "cut"],
)
def test_draft_finds_how_long_a_table_may_be_without_a_row(rule: Callable[[datetime], bool], freshness: str) -> None:
    days = [day for number in range(366) if rule(day := datetime(2024, 1, 1) + timedelta(days=number))]
    table = pl.DataFrame({"at": [f"{day:%Y-%m-%dT%H:%M:%S}" for day in days], "outcome": ["a"] * len(days)})
    months = partitions.months_of(table, "at", "outcome")
    assert months.freshness == freshness
    assert months.names == [
        f"2024-{month:02}" for month in range(1, 13) if freshness != "2d" or rule(datetime(2024, month, 28))
    ]
