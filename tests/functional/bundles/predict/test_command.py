"""`python -m pipelines predict` on the flights of a few rows: what it writes, what it refuses, and what a kill leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.bundle import manifest
from contract.model.predictor import Predictor
from harness import PROJECT
from harness.waiting import until
from pipelines.__main__ import main
from pipelines.machine.settings import open_store
from tests.functional.bundles.predict import signing

AT = datetime(2013, 3, 1, 6, 30)
ROW: dict[str, Any] = {
    "id": "a", "scheduled_departure": AT, "scheduled_arrival": AT, "carrier": "UA", "origin": "EWR", "dest": "ORD", "distance": 719.0,
    "temp": 39.0,
}  # fmt: skip


@pytest.fixture
def place(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a table of three rows, whose commands trust the signed bundle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKHEAD_VERIFY_KEY", str(signed / "key.pem"))
    monkeypatch.setenv("BULKHEAD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("BULKHEAD_VAR", str(tmp_path / "var"))
    rows = [ROW, {**ROW, "id": "b", "carrier": "a new one", "temp": None}, {**ROW, "id": "c", "distance": -1.0}]
    pl.DataFrame(rows).write_parquet("in.parquet")
    return tmp_path


@pytest.fixture
def predict(signed: Path) -> Callable[..., int]:
    """Return the exit code of the command with the signed bundle."""
    return lambda *arguments: main(["predict", *arguments, "--bundle", str(signed / "bundle")])


def test_rows_are_scored_or_put_aside_with_reasons(
    place: Path, signed: Path, predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("in.parquet", "out.parquet", "--keep", "id", "--json") == 0
    predictor = Predictor.load(signed / "bundle" / manifest.ARTIFACT)
    asked = [
        {**row, "scheduled_departure": AT.isoformat(), "scheduled_arrival": AT.isoformat()}
        for row in pl.read_parquet("in.parquet").drop("id").to_dicts()
    ]
    answers = predictor.predict(asked[:2])
    digest = manifest.digest_of(signed / "bundle")
    assert pl.read_parquet("out.parquet").rows() == [
        (name, at, answer["probability"], answer["label"], json.dumps(answer["fallbacks"]), digest)
        for at, (name, answer) in enumerate(zip("ab", answers, strict=True))
    ]
    assert {"field": "carrier", "problem": "unknown category"} in answers[1]["fallbacks"]
    aside = pl.read_parquet("out.refused.parquet")
    assert aside.select("id", "__row__").rows() == [("c", 2)]
    assert json.loads(aside["__reasons__"][0]) == [{"field": "distance", "problem": "must be between 1 and 6000 mi"}]
    *text, outcome = capsys.readouterr().out.splitlines()
    assert "refused: distance: must be between 1 and 6000 mi, 1 rows" in text
    assert json.loads(outcome)["facts"] == {"rows": 2, "refused": 1, "digest": digest}


def test_table_in_parts_of_csv_has_the_answers_of_one_parquet_file(place: Path, predict: Callable[..., int]) -> None:
    rows = pl.read_parquet("in.parquet")
    Path("parts").mkdir()
    rows[:1].write_csv("parts/1.csv")
    rows[1:].write_csv("parts/2.csv")
    Path("parts/_SUCCESS").touch()
    with Path("parts/2.csv").open("a") as stream:
        stream.write("a line,that is too short\n")
    assert predict("in.parquet", "one.parquet", "--keep", "*") == 0
    assert predict("parts", "parts.csv") == 0
    assert predict("parts", "parts.parquet") == 0
    scored = pl.read_parquet("parts.parquet")
    assert pl.read_parquet("one.parquet").select(scored.columns).equals(scored)
    assert pl.read_csv("parts.csv").equals(scored)
    reasons = pl.read_parquet("parts.refused.parquet")["__reasons__"].to_list()
    assert json.loads(reasons[1]) == [{"field": None, "problem": "more or fewer fields than the header: 2.csv:4"}]


def test_live_bundle_is_the_default_and_its_signature_is_verified(
    place: Path, signed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["predict", "in.parquet", "out.parquet"]) == 78
    assert "has no live bundle: deploy one" in capsys.readouterr().err
    store = open_store()
    digest = store.put(signed / "bundle")
    store.move("live", digest, expected=None, by="test")
    assert main(["predict", "in.parquet", "out.parquet"]) == 0
    assert main(["predict", "in.parquet", "again.parquet", "--bundle", digest[:10]]) == 0
    assert Path("out.parquet").read_bytes() == Path("again.parquet").read_bytes()
    shutil.copytree(signed / "bundle", "other")
    signing.sign(Path("other"), place / "other.pem")
    monkeypatch.setenv("BULKHEAD_VERIFY_KEY", str(place / "other.pem"))
    for reference in ("live", str(signed / "bundle")):
        assert main(["predict", "in.parquet", "other.parquet", "--bundle", reference]) == 65
        assert "signature" in capsys.readouterr().err
    assert main(["predict", "in.parquet", "other.parquet", "--bundle", "./other"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none.parquet", "out.parquet"), 78, "there is no file 'none.parquet'"),
        (("in.txt", "out.parquet"), 78, "in.txt is not a file of a table: all must end in .parquet, or all in .csv or .csv.gz"),
        (("broken.parquet", "out.parquet"), 65, "broken.parquet cannot be read"),
        (("empty.parquet", "out.parquet"), 65, "the table has no rows"),
        (("hollow", "out.parquet"), 78, "hollow has no Parquet or CSV files"),
        (("lacking.parquet", "out.parquet"), 65, "the table has no column 'carrier', which the model requires; it has"),
        (("typed.parquet", "out.parquet"), 65, "the column 'distance' as List(Int64), unsupported for a number"),
        (("text.parquet", "out.parquet"), 65, "none of 3 rows can be scored, so nothing is written"),
        (("in.parquet", "done.parquet"), 78, "done.parquet exists, and is complete"),
        (("in.parquet", "missing/out.parquet"), 78, "there is no directory missing; make it first"),
        (("in.parquet", "out.xlsx"), 64, "out.xlsx must end in .parquet or .csv"),
        (("in.parquet", "out.parquet", "--keep", "id,nope"), 78, "--keep names 'nope', which the table does not have"),
        (("done.parquet", "out.parquet", "--keep", "*"), 64, "'__row__' begins with two underscores"),
        (("source.yaml", "out.parquet"), 78, "source.yaml: path: Field required"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    place: Path,
    predict: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = pl.read_parquet("in.parquet")
    Path("in.txt").write_text("id\n")
    Path("broken.parquet").write_bytes(b"PAR1 and no more")
    Path("source.yaml").write_text("kind: files\n")
    Path("hollow").mkdir()
    rows.clear().write_parquet("empty.parquet")
    rows.drop("carrier").write_parquet("lacking.parquet")
    rows.with_columns(distance=pl.lit([[1]] * 3).explode()).write_parquet("typed.parquet")
    rows.with_columns(distance=pl.lit("far")).write_parquet("text.parquet")
    rows.with_columns(__row__=1).write_parquet("done.parquet")
    assert predict(*arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("\npredict stopped: ")
    assert not list(Path().glob("out.*"))
    assert not list(Path().glob(".*.part"))


def test_killed_run_leaves_no_table_and_the_next_one_clears_up(
    place: Path, signed: Path, predict: Callable[..., int]
) -> None:
    pl.concat([pl.read_parquet("in.parquet")] * 200_000).write_parquet("large.parquet")
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "predict",
        "large.parquet",
        "out.parquet",
        "--bundle",
        str(signed / "bundle"),
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "BULKHEAD_TRAINING_WEIGHT": "none"}
    process = subprocess.Popen(command, env=environment)
    until(lambda: any(part.stat().st_size for part in Path().glob(".out.parquet.*.part")), limit_s=60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("out.parquet").exists()
    assert list(Path().glob(".out.parquet.*.part"))
    assert predict("in.parquet", "out.parquet") == 0
    assert not list(Path().glob(".*.part"))
    assert pl.read_parquet("out.parquet").height == 2
    assert not list((place / "var" / "scratch").iterdir())
