"""The prediction log as tables: every whole row once, whatever is read when and how often."""

from __future__ import annotations

import fcntl
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.prediction_log.records import Call, Header, frame
from pipelines.__main__ import main

HEADER = Header("toy", "abcdef0123456789", "binary", ("no", "yes"), 0.5, ("a", "b"), 1)
CALLS: list[Call] = [(1_700_000_000_123_456_789, 2, b"first"), (1_700_000_001_000_000_000, 1, b"")]
MATRIX = np.array([[1.5, math.nan], [0.1, 2], [3, 4]], np.float32)
SCORES = np.array([0.25, 0.1, 0.5], np.float32)


def _log(directory: Path, name: str, header: Header = HEADER, *frames: bytes) -> Path:
    path = directory / f"{name}.predictions"
    directory.mkdir(exist_ok=True)
    path.write_bytes(header.to_bytes() + b"".join(frames))
    return path


def _read(tmp_path: Path, *options: str) -> int:
    return main(["predictions", str(tmp_path / "logs"), "--out", str(tmp_path / "out"), *options])


def _tables(tmp_path: Path) -> dict[str, pl.DataFrame]:
    return {
        path.relative_to(tmp_path / "out").as_posix(): pl.read_parquet(path)
        for path in sorted((tmp_path / "out").rglob("*.parquet"))
    }


def test_table_holds_features_and_answers_to_the_last_bit(tmp_path: Path) -> None:
    _log(tmp_path / "logs", "one", HEADER, frame(CALLS, MATRIX, SCORES))
    assert _read(tmp_path) == 0
    ((name, table),) = _tables(tmp_path).items()
    assert name == "abcdef012345/one.parquet"
    assert table.select("a", "b").to_numpy().astype(np.float32).tobytes() == MATRIX.tobytes()
    assert (table.schema["a"], table.schema["__probability__"]) == (pl.Float32, pl.Float64)
    assert table["__probability__"].to_list() == SCORES.tolist()
    assert table["__predicted_label__"].to_list() == ["no", "no", "yes"]
    assert table["__request_id__"].to_list() == ["first", "first", None]
    assert table["__row__"].to_list() == [0, 1, 0]
    assert table["__model__"].to_list() == [HEADER.version] * 3
    times = table["__time__"]
    assert times.dtype == pl.Datetime("ns", "UTC")
    assert times.to_physical().to_list() == [CALLS[0][0], CALLS[0][0], CALLS[1][0]]


def test_other_tasks_have_their_own_answers(tmp_path: Path) -> None:
    kinds = HEADER._replace(task="multiclass", labels=("x", "y", "z"), threshold=None, scores=3)
    chances = np.array([[0.2, 0.4, 0.4], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7]], np.float32)
    _log(tmp_path / "logs", "kinds", kinds, frame(CALLS, MATRIX, chances))
    number = HEADER._replace(version="1234567890abcdef", task="regression", labels=(), threshold=None)
    _log(tmp_path / "logs", "number", number, frame(CALLS, MATRIX, SCORES))
    assert _read(tmp_path) == 0
    found = _tables(tmp_path)
    table = found["abcdef012345/kinds.parquet"]
    assert table["__predicted_label__"].to_list() == ["y", "x", "z"]
    assert table["__probability__:z"].to_list() == chances[:, 2].tolist()
    assert found["1234567890ab/number.parquet"]["__value__"].to_list() == SCORES.tolist()


def test_reading_again_adds_what_was_written_since_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = frame(CALLS, MATRIX, SCORES)
    path = _log(tmp_path / "logs", "one", HEADER, whole)
    _read(tmp_path)
    (before,) = (tmp_path / "out").rglob("*.parquet")
    content = before.read_bytes()
    _read(tmp_path)
    assert before.read_bytes() == content
    with path.open("ab") as stream:
        stream.write(whole + whole[:-1])
    _read(tmp_path)
    assert "6 predictions of 1 logs" in capsys.readouterr().out.splitlines()[-1]
    ((_, table),) = _tables(tmp_path).items()
    assert table.height == 6
    with path.open("ab") as stream:
        stream.write(whole[-1:])
    _read(tmp_path, "--remove")
    ((_, table),) = _tables(tmp_path).items()
    assert (table.height, path.exists()) == (9, False)
    _read(tmp_path)
    assert _tables(tmp_path)["abcdef012345/one.parquet"].equals(table)


def test_log_that_a_server_writes_is_not_removed(tmp_path: Path) -> None:
    path = _log(tmp_path / "logs", "one", HEADER, frame(CALLS, MATRIX, SCORES))
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert _read(tmp_path, "--remove") == 0
        assert path.exists()
    assert len(_tables(tmp_path)) == 1
    assert _read(tmp_path, "--remove") == 0
    assert not path.exists()


def test_log_that_ends_in_its_first_line_has_no_rows_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _log(tmp_path / "logs", "cut")
    path.write_bytes(HEADER.to_bytes()[:-1])
    assert _read(tmp_path, "--remove") == 0
    assert f"{len(HEADER.to_bytes()) - 1} bytes unreadable" in capsys.readouterr().out
    assert (path.exists(), _tables(tmp_path)) == (True, {})


@pytest.mark.parametrize("content", [b"what is this?\n", HEADER.to_bytes().replace(b'"format": 1', b'"format": 2')])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    _log(tmp_path / "logs", "one").write_bytes(content)
    assert _read(tmp_path) == 65
    assert "one.predictions: not a prediction log" in capsys.readouterr().err


def test_directory_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _read(tmp_path) == 78
    assert "is not a directory" in capsys.readouterr().err


def test_tables_of_one_model_are_one_table(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _log(tmp_path / "logs", name, HEADER, frame(CALLS, MATRIX, SCORES))
    _read(tmp_path)
    rows: Any = pl.scan_parquet(tmp_path / "out" / HEADER.version[:12] / "*.parquet").select(pl.len()).collect().item()
    assert rows == 6
