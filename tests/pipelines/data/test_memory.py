"""Trees are the same from memory, batches and the disk; and the pages on the disk go."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.data import training
from pipelines.data.training import BATCH_ROWS, Part, Rows
from pipelines.machine import scratch
from pipelines.models.engines.local import CompressedRows, matrices
from pipelines.models.engines.spilled import Spill
from pipelines.models.families import boosting, forest
from pipelines.models.family import ALONE, Session
from pipelines.models.rounds import Round
from pipelines.params.train import ForestParams, GbtreeParams
from tests.pipelines.models import toy

FAMILIES: dict[str, Any] = {
    "gbtree": (boosting, GbtreeParams(seed=1, max_rounds=6, subsample=0.6, colsample_bytree=0.7)),
    "forest": (forest, ForestParams(family="forest", seed=1, trees=4)),
}


def _table(directory: Path, *, weights: bool = False) -> Rows:
    values = toy.matrix(2 * BATCH_ROWS + 70, 3)  # several batches, in two files
    heaviness = np.random.default_rng(4).uniform(0.5, 3, len(values)).astype(np.float32) if weights else None
    return toy.table(directory, values, toy.outcomes("binary", values), heaviness)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_model_has_the_same_bytes_from_memory_from_batches_and_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, weights: bool
) -> None:
    family, settings = FAMILIES[name]
    rows, schema = _table(tmp_path / "rows", weights=weights), toy.schema("binary")
    pages: list[int] = []

    @contextmanager
    def directory() -> Iterator[Path]:
        with scratch.directory(tmp_path / "scratch") as path:
            yield path

    def watch(_: Round) -> None:
        pages.append(sum(file.stat().st_size for file in (tmp_path / "scratch").rglob("*") if file.is_file()))

    small, of_small = family.train(rows, settings, schema)
    assert rows.is_small
    monkeypatch.setattr(training, "SMALL_BYTES", 0)
    internal, told = family.train(rows, settings, schema)
    assert (internal.save_raw("ubj"), told) == (small.save_raw("ubj"), of_small)
    on_disk = settings.model_copy(update={"memory": "external"})
    external, same = family.train(rows, on_disk, schema, Session(watch=watch, scratch=directory))
    assert (external.save_raw("ubj"), same) == (internal.save_raw("ubj"), told)
    assert all(size > rows.height for size in pages)
    assert len(pages) == (0 if name == "forest" else 12)  # rounds of both passes
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("free", "kept", "said"),
    [(400, 4, 0), (102, 2, 1), (50, 0, 1), (None, 0, 1)],
    ids=["room for all", "room for two", "none to spare", "none"],
)
def test_model_from_spilled_batches_has_the_same_bytes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    free: int | None,
    kept: int,
    said: int,
) -> None:
    family, settings = FAMILIES["gbtree"]
    rows, schema = _table(tmp_path / "rows", weights=True), toy.schema("binary")
    expected, told = family.train(rows, settings, schema)
    monkeypatch.setattr(training, "SMALL_BYTES", 0)
    spill = tmp_path / "spill"
    spill.mkdir()
    disk = 1000 * 2**20

    def usage(_: Path) -> Any:
        """A disk of which others use the most; it is never closer to full than a tenth."""
        written = sum(path.stat().st_size for path in spill.rglob("*.npy"))
        room = 400 * 2**20 if free is None else free * 2**20
        return SimpleNamespace(total=disk, free=room - written)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    if free is None:
        monkeypatch.setattr(np, "save", _without_room_for_the_third(np.save))
    model, same = family.train(rows, settings, schema, Session(spill=Spill(spill)))
    assert (model.save_raw("ubj"), same) == (expected.save_raw("ubj"), told)
    assert len(list(spill.iterdir())) == kept
    assert caplog.text.count("further batches are decoded anew each time") == said


def _without_room_for_the_third(save: Callable[..., None]) -> Callable[..., None]:
    left = iter(range(9))  # arrays of two batches, and the first one of the third

    def limited(*given: Any) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(*given)

    return limited


def test_matrix_from_batches_has_the_cuts_of_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import xgboost

    monkeypatch.setattr(training, "SMALL_BYTES", 0)
    rows = _table(tmp_path / "rows")
    with matrices(FAMILIES["gbtree"][1], ALONE) as matrix:
        streamed = matrix.make(rows, Part.TRAINING)
    chosen = ~rows.is_validation
    whole = xgboost.QuantileDMatrix(rows.matrix[chosen], rows.outcomes[chosen])
    assert streamed.num_row() == whole.num_row() == chosen.sum()
    for one, other in zip(streamed.get_quantile_cut(), whole.get_quantile_cut(), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(streamed.get_label(), whole.get_label())


def test_batches_are_given_in_compressed_rows_without_a_copy() -> None:
    form = CompressedRows(5, 3)
    for rows in (5, 4):  # the last batch of a file is shorter; below half SciPy copies the indices
        matrix = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        matrix[0, 1] = np.nan
        given = form.of(matrix)
        assert np.array_equal(given.toarray(), matrix, equal_nan=True)
        assert np.shares_memory(given.data, matrix)
        assert np.shares_memory(given.indices, form.of(matrix).indices)
