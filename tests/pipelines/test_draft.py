"""A draft loads as it is, and says what it was unsure of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from contract.errors import EXIT_CONFIGURATION
from pipelines import __main__ as command
from pipelines import params_file, paths
from pipelines.collect import stage
from pipelines.draft.outcome import guess_outcome
from tests.pipelines.conftest import deliveries


def _draft(*options: str) -> str:
    assert command.main(["draft", "t.csv", "--target", "outcome", "--out", "params.yaml", *options]) == 0
    return Path("params.yaml").read_text()


def test_draft_of_a_table_with_time_collects_as_it_is(workspace: Path) -> None:
    table = deliveries(datetime(2024, 1, 1), 60).with_columns(
        known_too_late=pl.col("outcome"), email=pl.format("{}@example.org", "order"), constant=pl.lit("x"),
        delay=pl.when(pl.col("weight") > 7).then(-1.0).otherwise("weight"),
    )  # fmt: skip
    table.write_csv("t.csv", separator=";", null_value="?", datetime_format="%Y-%m-%d %H:%M:%S")
    text = _draft("--time", "promised")
    params = params_file.load()
    assert (params.target.task, sorted(params.target.labels)) == ("binary", ["broken", "kept"])
    assert params.data.months == ("2024-01", "2024-02")
    assert params.data.source.separator == ";"  # type: ignore[union-attr]
    assert params.data.source.missing == ("?",)  # type: ignore[union-attr]
    kinds = {name: column.kind for name, column in params.data.columns.items()}
    assert kinds == {
        "promised": "timestamp", "depot": "category", "distance": "number", "weight": "number", "order": "identifier",
        "email": "identifier", "delay": "number"}  # fmt: skip
    assert params.data.columns["email"].pii
    assert params.data.key == ("order",)
    doubts = ("avoids 100% of the errors", "one value only", 'missing_values: ["-1"]', "about a person?")
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
    _draft()
    params = params_file.load()
    assert (params.target.task, params.data.months, params.data.key) == (task, ("all",), ())


def test_draft_names_parts_that_add_up_to_the_target(workspace: Path) -> None:
    rows = [{"a": i * 31 % 97, "b": i * 17 % 89, "c": i * 7 % 53} for i in range(300)]
    pl.DataFrame(rows).with_columns(outcome=pl.col("a") + pl.col("b")).write_csv("t.csv")
    assert "a + b is the target" in _draft()
    assert set(params_file.load().features) == {"c"}


def test_draft_never_overwrites_and_names_a_wrong_column(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"a": [1, 2, 3], "outcome": ["x", "y", "x"]}).write_csv("t.csv")
    Path("params.yaml").write_text("mine")
    assert command.main(["draft", "t.csv", "--target", "outcome", "--out", "params.yaml"]) == EXIT_CONFIGURATION
    assert Path("params.yaml").read_text() == "mine"
    assert command.main(["draft", "t.csv", "--target", "gone"]) == EXIT_CONFIGURATION
    assert "no column 'gone'; the columns are a, outcome" in capsys.readouterr().err
