"""Every batch is in exactly one state, and no row is lost on the way there."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.bundle import manifest
from contract.bundle.manifest import Manifest
from contract.errors import ConfigurationError, DataRejectedError
from contract.files import sha256, write_atomically
from pipelines import __main__ as command_line
from pipelines import paths
from pipelines.commands.publish import command as publish
from pipelines.commands.quarantine.cli import known, release
from pipelines.data import tables
from pipelines.data.ledger import Batch, Ledger, batch_id
from pipelines.params.params import Data, Params, TargetParams, Validate
from pipelines.stages.validate import rows, stage
from tests.pipelines.conftest import write_months

MONTH = "2024-02"
FIRST = pl.int_range(pl.len()) < 3


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    write_months(workspace)
    return Ledger(Path("var/quarantine"))


def _with_budget(raw: dict[str, Any], budget: float = 0.01) -> Params:
    raw["validate"]["budget"] = budget
    return Params.model_validate(raw)


def _declared(params: Params) -> tuple[Data, TargetParams, Validate]:
    return params.data, params.target, params.validate_


def _break(change: Callable[[pl.DataFrame], pl.DataFrame]) -> str:
    path = paths.partition(MONTH)
    change(pl.read_parquet(path)).write_parquet(path)
    return batch_id(MONTH, sha256(path))


def _changed(column: str, value: pl.Expr) -> pl.Expr:
    """The column with another value in its first three rows."""
    return pl.when(FIRST).then(value).otherwise(column).alias(column)


def _unread(column: str) -> pl.Expr:
    """The mark of a cell that `collect` could not read, in the first three rows."""
    return pl.when(FIRST).then(pl.lit(f'[["{column}", "must be a number", "far"]]')).alias(tables.UNREADABLE)


def _too_far(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(_changed("distance", pl.lit(101.0)))


def _states(ledger: Ledger, params: Params) -> dict[str, str]:
    return {batch.month: batch.state for batch in known(ledger, *_declared(params)).values()}


def _failing(run: Callable[[], Any]) -> int:
    with pytest.raises(DataRejectedError):
        run()
    return 65


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_too_far, "range:distance"),
        (lambda t: t.with_columns(_changed("depot", pl.lit("west"))), "set:depot"),
        (lambda t: t.with_columns(_changed("depot", pl.lit(None, pl.String))), "missing:depot"),
        (lambda t: t.with_columns(_changed("distance", pl.lit(None, pl.Float64))), "missing:distance"),
        (lambda t: t.with_columns(_changed("distance", pl.lit(None, pl.Float64)), _unread("distance")), "type:distance"),
        (lambda t: t.with_columns(_changed("outcome", pl.lit("maybe"))), "label:outcome"),
        (lambda t: t.with_columns(_changed("promised", pl.col("promised").dt.offset_by("3mo"))), "month:promised"),
        (lambda t: pl.concat([t, t.head(3)]), "duplicate"),
    ],
)  # fmt: skip
def test_rows_within_the_budget_are_split_off_with_their_reason_and_the_run_goes_on(
    ledger: Ledger, raw: dict[str, Any], change: Callable[[pl.DataFrame], pl.DataFrame], reason: str
) -> None:
    sound = pl.read_parquet(paths.partition(MONTH))
    batch = _break(change)
    params = _with_budget(raw)
    stage.run(params)
    accepted, quarantined = (
        pl.read_parquet(paths.accepted(MONTH)),
        pl.read_parquet(paths.QUARANTINED / f"{MONTH}.parquet"),
    )
    assert quarantined[rows.REASONS].to_list() == [[reason]] * 3
    assert accepted.height + quarantined.height == pl.read_parquet(paths.partition(MONTH)).height
    assert accepted.equals(sound if reason == "duplicate" else sound.slice(3))
    assert known(ledger, *_declared(params))[batch].split == {reason: 3}
    assert set(_states(ledger, params).values()) == {"accepted"}
    assert paths.accepted("2024-01").read_bytes() == paths.partition("2024-01").read_bytes()


def test_splitting_gives_the_same_bytes_twice(ledger: Ledger, raw: dict[str, Any]) -> None:
    _break(_too_far)
    written = []
    for _ in range(2):
        stage.run(_with_budget(raw))
        written.append({path: sha256(path) for path in Path("data").rglob("*.*")})
    assert written[0] == written[1]


def _ragged(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.when(FIRST).then(pl.lit("a.csv:7")).alias(tables.RAGGED))


def test_ragged_lines_are_split_off_as_any_bad_row(ledger: Ledger, raw: dict[str, Any]) -> None:
    _break(_ragged)
    stage.run(_with_budget(raw))
    assert json.loads((paths.QUARANTINED / "counts.json").read_bytes())[MONTH] == {"ragged": 3}
    aside = pl.read_parquet(paths.QUARANTINED / f"{MONTH}.parquet")
    assert aside.select(tables.RAGGED, rows.REASONS).rows() == [("a.csv:7", ["ragged"])] * 3
    accepted = pl.read_parquet(paths.accepted(MONTH))
    assert accepted.equals(pl.read_parquet(paths.partition(MONTH))[3:].drop(tables.RAGGED))


def test_ragged_lines_stop_the_month_and_are_named_when_there_is_no_budget(ledger: Ledger, params: Params) -> None:
    _break(_ragged)
    with pytest.raises(DataRejectedError) as caught:
        stage.run(params)
    (problem,) = caught.value.problems
    assert "3 of 580 rows; lines with more or fewer fields than the header: a.csv:7, a.csv:7" in problem.problem


def test_whole_batch_is_quarantined_and_the_run_stops_when_rows_go_beyond_the_budget(
    ledger: Ledger, raw: dict[str, Any]
) -> None:
    batch, params = _break(_too_far), _with_budget(raw, 0.005)
    with pytest.raises(DataRejectedError, match=r"rows_split_off; 3 of 580 rows; observed \{'range:distance': 3\}"):
        stage.run(params)
    assert _states(ledger, params) == {"2024-01": "accepted", MONTH: "quarantined", "2024-03": "accepted"}
    assert not paths.accepted(MONTH).exists()
    assert ledger.copy_of(ledger.read()[batch]).read_bytes() == paths.partition(MONTH).read_bytes()


def test_nothing_is_split_off_when_a_column_is_within_its_tolerance(ledger: Ledger, raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["distance"]["tolerance"] = 0.01
    _break(_too_far)
    stage.run(_with_budget(raw))
    assert paths.accepted(MONTH).read_bytes() == paths.partition(MONTH).read_bytes()


def test_release_replays_a_batch_after_the_fix(ledger: Ledger, params: Params, raw: dict[str, Any]) -> None:
    batch = _break(_too_far)
    _failing(lambda: stage.run(params))
    still, code = release(ledger, MONTH, *_declared(params), lambda: _failing(lambda: stage.run(params)))
    assert (still.state, code) == ("quarantined", 65)
    raw["data"]["columns"]["distance"]["maximum"] = 120
    fixed = Params.model_validate(raw)
    after, code = release(ledger, batch, *_declared(fixed), lambda: 0 if stage.run(fixed) else 1)
    assert (after.state, code) == ("accepted", 0)
    assert ledger.read()[batch].history == ("quarantined", "released", "quarantined", "released")
    assert not ledger.copy_of(after).exists()
    assert paths.accepted(MONTH).read_bytes() == paths.partition(MONTH).read_bytes()


def test_release_puts_a_batch_back_when_the_replay_gave_no_verdict(ledger: Ledger, params: Params) -> None:
    _break(_too_far)
    _failing(lambda: stage.run(params))
    batch, code = release(ledger, MONTH, *_declared(params), lambda: 65)
    assert (batch.state, code) == ("quarantined", 65)


def test_release_refuses_a_batch_whose_month_was_collected_anew(ledger: Ledger, params: Params) -> None:
    old = _break(_too_far)
    _failing(lambda: stage.run(params))
    _break(lambda table: table.head(500))
    with pytest.raises(DataRejectedError, match="is no longer batch"):
        release(ledger, old, *_declared(params), lambda: 0)
    assert sorted(batch.state for batch in known(ledger, *_declared(params)).values()) == [
        "accepted",
        "accepted",
        "pending",
        "quarantined",
    ]


def test_a_dropped_batch_is_never_used_again(ledger: Ledger, params: Params, raw: dict[str, Any]) -> None:
    _break(_too_far)
    _failing(lambda: stage.run(params))
    ledger.move(MONTH, "dropped", allowed=("quarantined",))
    with pytest.raises(DataRejectedError, match=r"was dropped\. Deliver 2024-02 again"):
        stage.run(_with_budget(raw))
    assert _states(ledger, params)[MONTH] == "dropped"


@pytest.mark.parametrize("state", ["released", "dropped"])
def test_an_accepted_batch_can_be_neither_released_nor_dropped(ledger: Ledger, params: Params, state: Any) -> None:
    stage.run(params)
    with pytest.raises(ConfigurationError, match="is accepted; only one that is quarantined"):
        ledger.move(MONTH, state, allowed=("quarantined",))


def test_every_batch_keeps_one_state_when_many_write_at_once(tmp_path: Path) -> None:
    source = tmp_path / "batch.parquet"
    source.write_bytes(b"rows")
    wanted = [
        Batch(f"2024-01-{n:012x}", "2024-01", f"{n:064x}", "accepted" if n % 2 else "quarantined") for n in range(24)
    ]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda batch: Ledger(tmp_path / "ledger").settle([(batch, source)]), wanted))
    assert sorted(Ledger(tmp_path / "ledger").read().values(), key=lambda batch: batch.id) == wanted


def test_a_verdict_that_was_restored_from_the_cache_counts(ledger: Ledger, params: Params) -> None:
    stage.run(params)
    before = {batch.id: batch.state for batch in known(ledger, *_declared(params)).values()}
    Path("var/quarantine/ledger.json").unlink()
    assert {batch.id: batch.state for batch in known(ledger, *_declared(params)).values()} == before


def test_the_verdict_on_what_lies_there_now_counts_whoever_gave_it(
    ledger: Ledger, params: Params, raw: dict[str, Any]
) -> None:
    raw["data"]["columns"]["distance"]["maximum"] = 120
    lenient = Params.model_validate(raw)
    _break(_too_far)
    stage.run(lenient)
    good = paths.VALIDATION.read_bytes()
    _failing(lambda: stage.run(params))
    assert _states(ledger, params)[MONTH] == "quarantined"
    paths.VALIDATION.write_bytes(good)  # as DVC restores it from its cache, or `verify` after a failed run
    assert _states(ledger, lenient)[MONTH] == "accepted"
    assert _states(ledger, params)[MONTH] == "quarantined"


def test_a_model_of_a_dropped_batch_is_not_published(ledger: Ledger, params: Params) -> None:
    batch = _break(_too_far)
    _failing(lambda: stage.run(params))
    ledger.move(MONTH, "dropped", allowed=("quarantined",))
    made_of = Manifest("m", "binary", {}, {}, inputs={"partitions": {MONTH: sha256(paths.partition(MONTH))}})
    write_atomically(paths.BUNDLE / manifest.FILE_NAME, made_of.to_bytes())
    with pytest.raises(DataRejectedError, match=f"batch {batch} was dropped"):
        publish.run(params)


def test_the_command_lists_and_shows_batches(
    ledger: Ledger, params: Params, raw: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").write_text(json.dumps(raw))
    batch = _break(_too_far)
    _failing(lambda: stage.run(params))
    capsys.readouterr()  # the progress of the months
    assert command_line.main(["quarantine", "list", "--json"]) == 0
    assert [entry["state"] for entry in json.loads(capsys.readouterr().out)] == ["accepted", "quarantined", "accepted"]
    assert command_line.main(["quarantine", "show", MONTH]) == 0
    shown = capsys.readouterr().out
    assert "field 'distance'" in shown
    assert f"{batch}.parquet" in shown
    assert command_line.main(["quarantine", "drop", MONTH]) == 0
    assert command_line.main(["quarantine", "drop", MONTH]) == 78
    assert "is dropped; only one that is quarantined or released" in capsys.readouterr().err


def test_the_command_says_so_when_there_is_no_batch(
    workspace: Path, raw: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "params.yaml").write_text(json.dumps(raw))
    assert command_line.main(["quarantine", "list"]) == 0
    assert capsys.readouterr().err == "there is no batch yet; `dvc repro` collects the months\n"
