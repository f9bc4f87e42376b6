"""The training table: batches, columns and the whole matrix hold the same rows in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import DataRejectedError
from pipelines.data import tables, training
from pipelines.data.training import BATCH_ROWS, LABEL, VALIDATION, WEIGHT, Batch, Part, Rows, write

HEIGHTS = {"2024-01": 10, "2024-02": BATCH_ROWS + 1, "2024-03": 7}
HEIGHT = sum(HEIGHTS.values())
MATRIX = np.arange(2 * HEIGHT, dtype=np.float32).reshape(HEIGHT, 2)
MATRIX[3, 1] = np.nan
OUTCOMES = (np.arange(HEIGHT) % 2).astype(np.int8)
IS_VALIDATION = np.arange(HEIGHT) >= HEIGHT - 9
WEIGHTS = (np.arange(HEIGHT) / 7).astype(np.float32)


def _written(directory: Path, *, weights: bool = False) -> Rows:
    start = 0
    for month, height in HEIGHTS.items():
        rows = slice(start, start + height)
        batch = Batch(MATRIX[rows], OUTCOMES[rows], IS_VALIDATION[rows], WEIGHTS[rows] if weights else None)
        write(directory / f"{month}.parquet", ("b", "a"), batch)
        start += height
    return Rows(directory)


@pytest.fixture(params=[0, training.SMALL_BYTES], ids=["large", "small"], autouse=True)
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test with a table that is read anew each time, and with one that stays in memory."""
    monkeypatch.setattr(training, "SMALL_BYTES", request.param)


@pytest.mark.parametrize(
    ("part", "used"), [(Part.ALL, slice(None)), (Part.TRAINING, slice(-9)), (Part.VALIDATION, slice(-9, None))]
)
def test_batches_of_a_part_hold_its_rows_in_order(tmp_path: Path, part: Part, used: slice) -> None:
    batches = list(_written(tmp_path, weights=True).batches(part))
    assert all(0 < len(batch.matrix) <= BATCH_ROWS and batch.matrix.flags.c_contiguous for batch in batches)
    assert np.concatenate([batch.matrix for batch in batches]).tobytes() == MATRIX[used].tobytes()
    assert np.concatenate([batch.outcomes for batch in batches]).tolist() == OUTCOMES[used].tolist()
    assert np.concatenate([batch.is_validation for batch in batches]).tolist() == IS_VALIDATION[used].tolist()
    weights = [weight for batch in batches if batch.weights is not None for weight in batch.weights.tolist()]
    assert weights == WEIGHTS[used].tolist()


def test_slices_without_rows_of_a_part_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    for name in ("read", "read_slice"):
        function = getattr(tables, name)

        def told(path: Path, *given: Any, function: Any = function) -> pl.DataFrame:
            read.append(path.stem)
            return function(path, *given)

        monkeypatch.setattr(tables, name, told)
    rows = _written(tmp_path)
    assert int(rows.is_validation.sum()) == len(rows.outcomes) - (HEIGHT - 9) == 9
    read.clear()
    assert [len(batch.matrix) for batch in rows.batches(Part.VALIDATION)] == [1, 1, 7]
    assert read == ([] if rows.is_small else ["2024-02", "2024-02", "2024-03"])


def test_columns_and_matrix_are_those_of_all_batches(tmp_path: Path) -> None:
    rows = _written(tmp_path)
    assert (rows.height, rows.feature_names, rows.weights) == (HEIGHT, ["b", "a"], None)
    assert rows.matrix.tobytes() == MATRIX.tobytes()
    assert rows.column("a").tobytes() == MATRIX[:, 1].tobytes()
    assert (rows.outcomes.tolist(), rows.is_validation.tolist()) == (OUTCOMES.tolist(), IS_VALIDATION.tolist())


def test_files_have_small_row_groups_and_equal_bytes_when_written_again(tmp_path: Path) -> None:
    files = _written(tmp_path / "one", weights=True).files
    assert pl.read_parquet(files[1]).columns == ["b", "a", LABEL, VALIDATION, WEIGHT]
    assert [path.read_bytes() for path in files] == [
        path.read_bytes() for path in _written(tmp_path / "two", weights=True).files
    ]
    import duckdb

    groups = duckdb.sql(f"SELECT row_group_num_rows FROM parquet_metadata('{files[1]}') GROUP BY ALL ORDER BY 1")
    assert [rows for (rows,) in groups.fetchall()] == [1, BATCH_ROWS]


def test_a_directory_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRejectedError, match="run `dvc repro features`"):
        list(Rows(tmp_path).batches())


def test_a_sample_is_the_whole_table_or_evenly_spaced_rows(tmp_path: Path) -> None:
    rows = _written(tmp_path, weights=True)
    whole = rows.sample(HEIGHT)
    assert whole.matrix.tobytes() == MATRIX.tobytes()
    assert rows.sample(HEIGHT) is whole  # read once
    sample = rows.sample(HEIGHT // 3)
    assert sample.matrix[:, 0].tolist() == [MATRIX[index * HEIGHT // (HEIGHT // 3), 0] for index in range(HEIGHT // 3)]
    assert sample.weights is not None
    assert sample.weights.tolist() == WEIGHTS[(sample.matrix[:, 0] / 2).astype(int)].tolist()


@pytest.mark.parametrize(("few", "together", "kept"), [(HEIGHT, 2 * HEIGHT, "ab"), (HEIGHT, HEIGHT, "b"), (9, 99, "")])
def test_distinct_values_stay_in_memory_while_they_are_few_in_each_and_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, together: int, kept: str
) -> None:
    monkeypatch.setattr(training, "_FEW", few)
    monkeypatch.setattr(training, "_KEPT", together)
    rows = _written(tmp_path)
    first = {name: rows.distinct(name) for name in rows.feature_names}
    assert {name for name in first if rows.distinct(name) is first[name]} == set(kept)
    assert first["a"].missing == 1
    assert first["b"].values.tolist() == MATRIX[:, 0].tolist()
