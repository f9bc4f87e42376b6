"""Models of earlier months: each is trained as the stage `train` would have done at the end of its month."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from contract.errors import ConfigurationError, DataRejectedError
from contract.files import sha256
from contract.model.predictor import Predictor
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import splits, tables, training
from pipelines.data.clusters import Clusters
from pipelines.models import tuning
from pipelines.models.calibrated import calibrated
from pipelines.models.engines.checkpoints import Checkpoint, Checkpoints
from pipelines.models.families.registry import FAMILIES
from pipelines.models.family import Rows, Session
from pipelines.params.judging.split import TemporalSplit
from pipelines.params.params import Params
from pipelines.params.train import FamilyParams
from pipelines.statistics.measures import Outcomes, Scores

_PROJECT = Path(__file__).parents[3]
_CODE = ("pipelines/models/**/*.py", "pipelines/data/cuts.py", "pipelines/data/training.py")
_LIBRARIES = ("numpy", "xgboost", "xgboost-cpu", "scikit-learn", "onnx")


@dataclass(frozen=True)
class CutOff:
    """The end of a month, up to which a model is trained.

    Attributes:
        months: those that it is trained on.
        first: the month from which on it is judged.
        split: that of `params.yaml` with this month as its hold-out.
    """

    months: tuple[str, ...]
    first: str
    split: TemporalSplit

    @property
    def trained_to(self) -> str:
        """The last month that it is trained on."""
        return self.months[-1]


def cut_offs(months: Sequence[str], split: TemporalSplit, most: int) -> list[CutOff]:
    """Return the newest cut-offs, at most so many, the oldest first; those at which the split leaves nothing to train on are left out.

    Args:
        months: of encoded rows.
    """
    found: list[CutOff] = []
    at_month = split.model_copy(update={"holdout": "1mo"})
    for index in range(len(months) - 1, 0, -1):
        if len(found) == most:
            break
        try:
            splits.boundaries(months[: index + 1], at_month)
        except ConfigurationError:
            continue
        found.append(CutOff(tuple(months[:index]), months[index], at_month))
    return found[::-1]


def score(model: Predictor, month: str) -> tuple[Outcomes, Scores, Clusters]:
    """Return outcomes, scores and clusters of a month's encoded rows."""
    batch = Rows(paths.TRAINING_ROWS).batch(tables.read(paths.training_rows(month)))
    clusters = np.arange(len(batch.outcomes)) if batch.clusters is None else batch.clusters
    return batch.outcomes, model.score_matrix(batch.matrix).astype(np.float64), clusters


class Trainer:
    """Trains models, or takes them from those that are kept.

    Args:
        kept: models of earlier runs; a model has the identity of all that its bytes depend on.
        directory: for the rows of one model at a time.
    """

    def __init__(self, params: Params, schema: FeatureSchema, kept: Checkpoints, directory: Path) -> None:
        self._params, self._schema, self._kept, self._directory = params, schema, kept, directory
        self._settings = tuning.applied(params.train, tuning.parameters())
        self._code = _code()
        self._parts_of_run = _by_month(params.data.months)

    def model(self, at: CutOff, session: Session) -> Predictor:
        """Return the exported model of a cut-off.

        Raises:
            DataRejectedError: its rows lack a label, or validate nothing.
            ModelRejectedError: as the family does.
        """
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            rows = self._rows(at, Path(directory) / "rows")
            series = self._kept.of(identity(self._settings, self._schema, rows) | {"model": 1, "code": self._code})
            content = series.newest().model
            if not content:
                family = calibrated(FAMILIES[self._params.train.family], self._params.train.calibration)
                model, _ = family.train(rows, self._settings, self._schema, session)
                content = family.to_onnx(model, self._schema)
                series.keep(Checkpoint((None,), content))
            path = Path(directory) / "model.onnx"
            path.write_bytes(content)
            return Predictor(path, self._schema)

    def _rows(self, at: CutOff, directory: Path) -> Rows:
        """Write the encoded rows of its months, with the validation rows that the split has at its end."""
        parts: list[pl.DataFrame] = []
        for month in at.months:
            part = self._parts(month, at)
            table = tables.read(paths.training_rows(month)).with_columns(
                (part == splits.VALIDATION).alias(training.VALIDATION)
            )
            # Numbers of clusters change with the months of the table, and no family reads them.
            table = table.drop(training.CLUSTER, strict=False).filter(part.is_in([splits.TRAINING, splits.VALIDATION]))
            if table.height:
                tables.write(table, directory / f"{month}.parquet", rows_in_group=training.BATCH_ROWS)
                parts.append(table.select(training.LABEL, training.VALIDATION))
        self._check(
            pl.concat(parts)
            if parts
            else pl.DataFrame(schema={training.LABEL: pl.Int8, training.VALIDATION: pl.Boolean})
        )
        return Rows(directory)

    def _parts(self, month: str, at: CutOff) -> pl.Series:
        """Return the parts of a month's encoded rows, as the split has them at the cut-off."""
        params, time = self._params, str(self._params.data.time)
        table = tables.read(paths.accepted(month), [time, params.target.column])
        encoded = self._parts_of_run[month].is_in([splits.TRAINING, splits.VALIDATION])
        rows = table.filter(encoded & tables.outcomes(table, params.target).is_not_null())
        data = params.data.model_copy(update={"months": (*at.months, at.first)})
        return splits.assign(rows, at.split, data, params.target, params.features)

    def _check(self, rows: pl.DataFrame) -> None:
        learned = rows.filter(~pl.col(training.VALIDATION))[training.LABEL]
        if learned.is_empty() or learned.len() == rows.height:
            raise DataRejectedError("no rows to train on, or none that validate")
        labels = self._schema.target.labels
        if TASKS[self._schema.task].is_number:
            return
        if absent := [label for code, label in enumerate(labels) if code not in set(learned.to_list())]:
            raise DataRejectedError(f"no row to train on has the label {absent[0]!r}")


def identity(settings: FamilyParams, schema: FeatureSchema, rows: Rows) -> dict[str, Any]:
    """Return all that a model of these rows depends on, but for the code."""
    return {
        "rows": rows.digest,
        "schema": hashlib.sha256(schema.to_bytes()).hexdigest(),
        # The same model, whatever the number of threads, and wherever its rows and the workers are.
        "settings": settings.model_dump(mode="json", exclude={"threads", "memory", "scheduler"}),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _by_month(months: Sequence[str]) -> dict[str, pl.Series]:
    """Return the parts of each month's accepted rows, as `features` has split them."""
    parts, found, start = tables.read(paths.PARTS)[splits.PART], {}, 0
    for month in months:
        height = tables.height(paths.accepted(month))
        found[month] = parts[start : start + height]
        start += height
    return found


def _code() -> str:
    """Return the digest of the code that trains and exports."""
    files = [path for pattern in _CODE for path in sorted(_PROJECT.glob(pattern))]
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
