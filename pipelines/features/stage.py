"""Stage `features`: fit the feature schema on the rows before the hold-out, and encode them."""

from __future__ import annotations

import polars as pl

from contract import schema as feature_schema
from contract.encoder import Encoder
from contract.errors import DataRejectedError
from contract.files import canonical_json, write_atomically
from pipelines import paths, tables
from pipelines.features.fit import fit_schema
from pipelines.params import Params


def run(params: Params) -> str:
    """Write `schema.json`, `train.parquet` (features as float32, label, time) and `counts.json` under `data/features`.

    Rows without a label (null) cannot be learned from; they are counted, by month.
    """
    _, holdout, _ = tables.split_points(params.data.months, params.split)
    table = tables.read_partitions(params.data.months)
    training = table.filter((pl.col(params.data.time) < holdout) & pl.col(params.target.column).is_not_null())
    if training.is_empty():
        raise DataRejectedError(
            f"no row before {holdout:%Y-%m-%d} has a label in {params.target.column!r}; collect more months"
        )
    schema = fit_schema(params, training)
    write_atomically(paths.FEATURES / feature_schema.FILE_NAME, schema.to_bytes())
    tables.write(_encoded(params, training, schema), paths.FEATURES / "train.parquet")
    write_atomically(paths.FEATURES / "counts.json", canonical_json(_counts(params, table)))
    return f"{training.height:,} training rows × {len(schema.features)} features"


def _encoded(params: Params, training: pl.DataFrame, schema: feature_schema.FeatureSchema) -> pl.DataFrame:
    matrix = Encoder(schema).encode_columns(tables.columns_of(training, [field.name for field in schema.fields]))
    return pl.DataFrame(matrix, schema=schema.feature_names, orient="row").with_columns(
        tables.positives(training, params.target).alias(tables.LABEL),
        training[params.data.time].alias(tables.TIME),
    )


def _counts(params: Params, table: pl.DataFrame) -> dict[str, dict[str, int]]:
    """By month: rows, and rows without a label."""
    month = pl.col(params.data.time).dt.strftime("%Y-%m")
    counts = (
        table.group_by(month=month)
        .agg(rows=pl.len(), unlabelled=pl.col(params.target.column).null_count())
        .sort("month")
    )
    return {row["month"]: {"rows": row["rows"], "unlabelled": row["unlabelled"]} for row in counts.to_dicts()}
