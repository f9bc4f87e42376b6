"""Stage `features`: split the table, fit the feature schema on the rows before the hold-out, and encode them."""

from __future__ import annotations

import polars as pl

from contract import schema as feature_schema
from contract.encoder import Encoder
from contract.errors import DataRejectedError
from contract.files import canonical_json, write_atomically
from pipelines import paths, splits, tables
from pipelines.features.fit import fit_schema
from pipelines.params import WHOLE, Params


def run(params: Params) -> str:
    """Write to `data/features`: `schema.json`, `train.parquet`, `parts.parquet` and `counts.json`.

    `train.parquet` holds the rows that are learned from (features as float32, outcome, whether for validation), `parts.parquet`
    the part of every row of the table. Rows without an outcome cannot be learned from; they are counted, by month.
    """
    table = tables.read_partitions(params.data.months)
    parts = splits.assign(table, params)
    outcomes = tables.outcomes(table, params.target)
    _check_parts(params, parts, outcomes)
    is_used = parts.is_in([splits.TRAINING, splits.VALIDATION]) & outcomes.is_not_null()
    training, used_parts, used_outcomes = table.filter(is_used), parts.filter(is_used), outcomes.filter(is_used)
    schema = fit_schema(params, training)
    encoded = _encode(training, schema).with_columns(
        used_outcomes.alias(tables.LABEL), (used_parts == splits.VALIDATION).alias(tables.VALIDATION)
    )
    write_atomically(paths.FEATURES / feature_schema.FILE_NAME, schema.to_bytes())
    tables.write(encoded, paths.FEATURES / "train.parquet")
    tables.write(parts.to_frame(), paths.PARTS)
    write_atomically(paths.COUNTS, canonical_json(_counts(params, table)))
    return f"{training.height:,} training rows × {len(schema.features)} features"


def _check_parts(params: Params, parts: pl.Series, outcomes: pl.Series) -> None:
    """Raises DataRejectedError for a part, or a label in training, without a single row."""
    column = params.target.column
    for part in (splits.TRAINING, splits.VALIDATION, splits.HOLDOUT):
        if outcomes.filter(parts == part).count() == 0:
            raise DataRejectedError(
                f"split: no row of the {part} part has a value in {column!r}, of {len(parts):,} rows; "
                "collect more rows, or change `split` in params.yaml"
            )
    learned = set(outcomes.filter(parts == splits.TRAINING).to_list())
    if absent := [label for code, label in enumerate(params.target.labels) if code not in learned]:
        raise DataRejectedError(
            f"no row of the training part has the label {absent[0]!r} in {column!r}; "
            "collect more rows, change `split`, or take it out of target.labels"
        )


def _encode(training: pl.DataFrame, schema: feature_schema.FeatureSchema) -> pl.DataFrame:
    matrix = Encoder(schema).encode_columns(tables.columns_of(training, [field.name for field in schema.fields]))
    return pl.DataFrame(matrix, schema=schema.feature_names, orient="row")


def _counts(params: Params, table: pl.DataFrame) -> dict[str, dict[str, int]]:
    """By month: rows, and rows without an outcome."""
    month = pl.lit(WHOLE) if params.data.time is None else pl.col(params.data.time).dt.strftime("%Y-%m")
    counts = (
        table.group_by(month=month)
        .agg(rows=pl.len(), unlabelled=pl.col(params.target.column).null_count())
        .sort("month")
    )
    return {row["month"]: {"rows": row["rows"], "unlabelled": row["unlabelled"]} for row in counts.to_dicts()}
