"""Stage `features`: split the table, fit the feature schema on the rows before the hold-out, and encode them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from contract.errors import ConfigurationError, DataRejectedError
from contract.files import canonical_json, write_atomically
from contract.schema import schema as feature_schema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import splits, tables
from pipelines.data.clusters import clusters_of
from pipelines.machine import cluster
from pipelines.machine.progress import Months
from pipelines.params.features.transforms import histories
from pipelines.params.params import Params, TargetParams
from pipelines.stages.features.fit import fit_schema, fitted_columns
from pipelines.stages.features.partition import Marks, Recipe
from pipelines.stages.features.weights import weights as weights_of


def run(params: Params) -> str:
    """Write to `data/features`: `schema.json`, `history` and `train` (a file a partition), `parts.parquet` and `counts.json`.

    `history` holds the features that are computed from other rows, of every row (`pipelines.data.history`).
    `train` holds the training and validation rows of each partition that has some, as `pipelines.data.training` reads them,
    `parts.parquet` the part of every row of the table. Rows without an outcome are only counted, by month. The whole table is never
    in memory: first the columns that the split needs, then the fitted ones, then one month after another, or one on each worker of a
    Dask cluster.
    """
    data, target, features, months = params.data, params.target, params.features, params.data.months
    needed = {*splits.columns(params.split, data, target, features), *filter(None, [data.time, target.weight])}
    deciding = tables.read_partitions(months, sorted(needed))
    parts = splits.assign(deciding, params.split, data, target, features)
    outcomes = tables.outcomes(deciding, target)
    clusters, unit = clusters_of(deciding, data.time, params.split)
    given = None if target.weight is None else deciding[target.weight]
    del deciding  # frees its memory before the next table is read
    _check_parts(target, parts, outcomes)
    if TASKS[target.task].is_number:
        target.check_outcomes(float(np.nanmin(outcomes.to_numpy())))
    is_used = parts.is_in([splits.TRAINING, splits.VALIDATION]) & outcomes.is_not_null()
    weights = weights_of(target, given, outcomes, is_used)
    fitted = tables.read_partitions(months, fitted_columns(target.column, features)).filter(is_used)
    in_utc = tables.columns_in_utc(*map(paths.accepted, months))
    schema = fit_schema(params.name, data, target, features, fitted, in_utc)
    del fitted
    write_atomically(paths.FEATURES / feature_schema.FILE_NAME, schema.to_bytes())
    for directory in (paths.HISTORY, paths.TRAINING_ROWS):
        shutil.rmtree(directory, ignore_errors=True)  # partitions that are no longer listed
    marks = Marks(is_used, parts, outcomes, weights, None if unit == "rows" else clusters)
    # dvc.yaml does not name `train` here: where a partition is encoded changes no byte.
    with cluster.client_of(params.train.cluster) as client:
        progress = Months("encoded", len(months))
        recipe = Recipe(histories(features), data, target, schema)
        cluster.each(
            recipe.write,
            _partitions(months, marks),
            client,
            done=lambda written: progress.tell(written[0], len(written[1].is_used)),
        )
    _check_written(months, marks)
    tables.write(parts.to_frame(), paths.PARTS)
    write_atomically(paths.COUNTS, canonical_json(_counts(months, target.column)))
    return f"{is_used.sum():,} training rows × {len(schema.features)} features"


def _check_parts(target: TargetParams, parts: pl.Series, outcomes: pl.Series) -> None:
    """Raise DataRejectedError for a part, or a label of the training part, without rows."""
    column = target.column
    for part in (splits.TRAINING, splits.VALIDATION, splits.HOLDOUT):
        if outcomes.filter(parts == part).count() == 0:
            raise DataRejectedError(
                f"split: no row of the {part} part has a value in {column!r}, of {len(parts):,} rows; "
                "collect more rows, or change `split` in params.yaml"
            )
    learned = set(outcomes.filter(parts == splits.TRAINING).to_list())
    if absent := [label for code, label in enumerate(target.labels) if code not in learned]:
        raise DataRejectedError(
            f"no row of the training part has the label {absent[0]!r} in {column!r}; "
            "collect more rows, change `split`, or remove it from target.labels"
        )


def _partitions(months: Sequence[str], marks: Marks) -> Iterator[tuple[str, Marks]]:
    start = 0
    for month in months:
        height = tables.height(paths.accepted(month))
        yield month, marks.slice(start, height)
        start += height


def _check_written(months: Sequence[str], marks: Marks) -> None:
    """Raise ConfigurationError for files that a worker wrote elsewhere; remove what a killed one left."""
    for month, of_month in _partitions(months, marks):
        if of_month.is_used.any() and not paths.training_rows(month).is_file():
            raise ConfigurationError(
                f"train.scheduler: a worker wrote {paths.training_rows(month)}, and it is not here; give the workers this directory, "
                "on a file system that all machines share"
            )
    # All writers have ended; a part of a month that is not written again would be in the output's digest.
    for left in paths.FEATURES.rglob(".*.part"):
        left.unlink(missing_ok=True)


def _counts(months: Sequence[str], target: str) -> dict[str, dict[str, int]]:
    """Count by month: rows, and rows without an outcome."""
    counts = {}
    for month in months:
        column = tables.read_partitions([month], [target])[target]
        counts[month] = {"rows": len(column), "unlabelled": column.null_count()}
    return counts
