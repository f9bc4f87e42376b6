"""The predictions that the gates judge, as a table: whoever has it can decide again. It holds outcomes, so it never leaves training."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.data import tables
from pipelines.data.clusters import Clusters
from pipelines.statistics.measures import Outcomes, Scores

_OUTCOME, _CLUSTER, _UNSEEN = "outcome", "cluster", "unseen_by_live"
_SCORE, _CHANGE, _GROUP = "score_", "change_", "group_"


@dataclass(frozen=True)
class Predictions:
    """The labelled rows of the hold-out, without their columns but for the groups that they are judged by.

    Attributes:
        outcomes: of shape (rows,), as `pipelines.statistics.measures` has them.
        clusters: numbers of the units of resampling.
        scores: by model: `model`, `linear`, `prior`, `uncalibrated` if it is calibrated, `recalibrated` if
            the validation rows could, `live` if one is compared.
        unseen: mask of the rows that the live model has not learned from; None where none is compared.
        changes: of the score of each row by expectation, in the order of `evaluate.behaviour`; NaN where a row was not tried.
        groups: enumerations without nulls, by role and name (`pipelines.stages.evaluate.slices.groups`).
    """

    outcomes: Outcomes
    clusters: Clusters
    scores: dict[str, Scores]
    unseen: NDArray[np.bool_] | None
    changes: tuple[Scores, ...] = ()
    groups: dict[str, pl.Series] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the table; equal predictions give equal bytes."""
        columns = {_OUTCOME: pl.Series(self.outcomes), _CLUSTER: pl.Series(self.clusters)}
        if self.unseen is not None:
            columns[_UNSEEN] = pl.Series(self.unseen)
        for name, scores in self.scores.items():
            kind = pl.Float64() if scores.ndim == 1 else pl.Array(pl.Float64(), scores.shape[1])
            columns[f"{_SCORE}{name}"] = pl.Series(np.ascontiguousarray(scores), dtype=kind)
        for index, changes in enumerate(self.changes):
            columns[f"{_CHANGE}{index}"] = pl.Series(changes, dtype=pl.Float64()).fill_nan(None)
        columns |= {f"{_GROUP}{name}": groups for name, groups in self.groups.items()}
        tables.write(pl.DataFrame(columns), path)

    @classmethod
    def read(cls, content: Path | BytesIO) -> Predictions:
        """Return the predictions of a table that `write` wrote."""
        table = pl.read_parquet(content)
        changed = sum(name.startswith(_CHANGE) for name in table.columns)
        return cls(
            outcomes=table[_OUTCOME].to_numpy(),
            clusters=table[_CLUSTER].to_numpy(),
            scores={
                name.removeprefix(_SCORE): np.ascontiguousarray(table[name].to_numpy())
                for name in table.columns
                if name.startswith(_SCORE)
            },
            unseen=table[_UNSEEN].to_numpy() if _UNSEEN in table.columns else None,
            changes=tuple(table[f"{_CHANGE}{index}"].to_numpy() for index in range(changed)),
            groups={name.removeprefix(_GROUP): table[name] for name in table.columns if name.startswith(_GROUP)},
        )
