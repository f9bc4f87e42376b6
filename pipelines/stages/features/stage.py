"""Stage `features`: split the table, fit the feature schema on the rows before the hold-out, and encode them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np
import polars as pl

from contract.errors import DataRejectedError
from contract.files import canonical_json, write_atomically
from contract.model.encoder import Encoder
from contract.schema import schema as feature_schema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import splits, tables, training
from pipelines.data.clusters import Clusters, clusters_of
from pipelines.data.history import accepted, partitions
from pipelines.params.features.transforms import histories
from pipelines.params.params import Params, TargetParams
from pipelines.stages.features.fit import fit_schema, fitted_columns
from pipelines.stages.features.weights import Weights
from pipelines.stages.features.weights import weights as weights_of

_ROWS_AT_ONCE = 50_000  # the encoder works on Python values


def run(params: Params) -> str:
    """Write to `data/features`: `schema.json`, `history` and `train` (a file a partition), `parts.parquet` and `counts.json`.

    `history` holds the features that are computed from other rows, of every row (`pipelines.data.history`).
    `train` holds the training and validation rows of each partition that has some, as `pipelines.data.training` reads them,
    `parts.parquet` the part of every row of the table. Rows without an outcome are only counted, by month. The whole table is never
    in memory: first the columns that the split needs, then the fitted ones, then one month after another.
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
    start = 0
    for month in months:
        history = partitions.of_month(month, histories(features), data, target)
        if history.width:
            tables.write(history, paths.history(month))
        start += _write_month(
            month, schema, is_used, parts, outcomes, weights, None if unit == "rows" else clusters, start
        )
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


def _write_month(
    month: str,
    schema: feature_schema.FeatureSchema,
    is_used: pl.Series,
    parts: pl.Series,
    outcomes: pl.Series,
    weights: Weights | None,
    clusters: Clusters | None,
    start: int,
) -> int:
    """Write the used rows of a month, the first of which is row `start` of the table; return the number of all its rows."""
    table = accepted.read([month], [field.name for field in schema.fields])
    used, part, outcome = (series.slice(start, table.height) for series in (is_used, parts, outcomes))
    if used.any():
        rows = slice(start, start + table.height)
        batch = training.Batch(
            _encoded(table.filter(used), schema),
            outcome.filter(used).to_numpy(),
            (part.filter(used) == splits.VALIDATION).to_numpy(),
            None if weights is None else weights[rows][used.to_numpy()],
            None if clusters is None else clusters[rows][used.to_numpy()],
        )
        training.write(paths.TRAINING_ROWS / f"{month}.parquet", schema.feature_names, batch)
    return table.height


def _encoded(table: pl.DataFrame, schema: feature_schema.FeatureSchema) -> training.Matrix:
    encoder = Encoder(schema)
    return np.concatenate(
        [encoder.encode_table(tables.columns_of(rows, table.columns)) for rows in table.iter_slices(_ROWS_AT_ONCE)]
    )


def _counts(months: Sequence[str], target: str) -> dict[str, dict[str, int]]:
    """Count by month: rows, and rows without an outcome."""
    counts = {}
    for month in months:
        column = tables.read_partitions([month], [target])[target]
        counts[month] = {"rows": len(column), "unlabelled": column.null_count()}
    return counts
