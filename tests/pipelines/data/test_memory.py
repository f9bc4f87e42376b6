"""Trees are the same from memory, batches and the disk; and the pages on the disk go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.data.training import BATCH_ROWS, Part, Rows
from pipelines.machine import scratch
from pipelines.models.engines.local import matrices
from pipelines.models.families import boosting, forest
from pipelines.models.family import ALONE, Session
from pipelines.models.rounds import Round
from pipelines.params.train import ForestParams, GbtreeParams
from tests.pipelines.models import toy

FAMILIES: dict[str, Any] = {
    "gbtree": (boosting, GbtreeParams(seed=1, max_rounds=6, subsample=0.6, colsample_bytree=0.7)),
    "forest": (forest, ForestParams(family="forest", seed=1, trees=4)),
}


def _table(directory: Path) -> Rows:
    values = toy.matrix(2 * BATCH_ROWS + 70, 3)  # several batches, in two files
    return toy.table(directory, values, toy.outcomes("binary", values))


@pytest.mark.parametrize("name", FAMILIES)
def test_model_has_the_same_bytes_from_memory_and_from_the_disk(tmp_path: Path, name: str) -> None:
    family, settings = FAMILIES[name]
    rows, schema = _table(tmp_path / "rows"), toy.schema("binary")
    pages: list[int] = []

    @contextmanager
    def directory() -> Iterator[Path]:
        with scratch.directory(tmp_path / "scratch") as path:
            yield path

    def watch(_: Round) -> None:
        pages.append(sum(file.stat().st_size for file in (tmp_path / "scratch").rglob("*") if file.is_file()))

    internal, told = family.train(rows, settings, schema)
    on_disk = settings.model_copy(update={"memory": "external"})
    external, same = family.train(rows, on_disk, schema, Session(watch=watch, scratch=directory))
    assert (external.save_raw("ubj"), same) == (internal.save_raw("ubj"), told)
    assert all(size > rows.height for size in pages)
    assert len(pages) == (0 if name == "forest" else 12)  # rounds of both passes
    assert list((tmp_path / "scratch").iterdir()) == []


def test_matrix_from_batches_has_the_cuts_of_one_in_memory(tmp_path: Path) -> None:
    import xgboost

    rows = _table(tmp_path / "rows")
    with matrices(FAMILIES["gbtree"][1], ALONE) as matrix:
        streamed = matrix.make(rows, Part.TRAINING)
    chosen = ~rows.is_validation
    whole = xgboost.QuantileDMatrix(rows.matrix[chosen], rows.outcomes[chosen])
    assert streamed.num_row() == whole.num_row() == chosen.sum()
    for one, other in zip(streamed.get_quantile_cut(), whole.get_quantile_cut(), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(streamed.get_label(), whole.get_label())
