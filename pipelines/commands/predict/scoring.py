"""Batches of a table to answers, in threads; the order of the rows stays."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import polars as pl

from contract.errors import BundleError
from contract.model.predictor import Predictor
from pipelines.columns import answers
from pipelines.commands.predict.conversion import Conversion
from pipelines.commands.predict.tables import Table, as_kept
from pipelines.data.tables import RAGGED

ROW, MODEL, REASONS = "__row__", "__model__", "__reasons__"
Told = Counter[tuple[str | None, str]]


class Scored(NamedTuple):
    """A scored batch.

    Attributes:
        answers: a row for each row that was scored.
        refused: one for each of the others, with its reasons; None without any.
        fallbacks, reasons: rows by field and problem.
    """

    answers: pl.DataFrame
    refused: pl.DataFrame | None
    fallbacks: Told
    reasons: Told


class Scorer:
    """A scorer of one table's batches.

    Args:
        predictors: one for each thread.
        keep: columns of the table that are copied to the answers.
    """

    def __init__(self, predictors: Sequence[Predictor], digest: str, table: Table, keep: Sequence[str]) -> None:
        self._predictors: SimpleQueue[Predictor] = SimpleQueue()
        for predictor in predictors:
            self._predictors.put(predictor)
        self._threads, self._digest, self._table, self._keep = len(predictors), digest, table, keep
        self._schema = predictors[0].schema
        self.conversion = Conversion(self._schema, predictors[0].encoder, table.schema)

    def batches(self) -> Iterator[Scored]:
        """Yield the scored batches in the order of the rows; a few at a time are in memory."""
        columns = list(dict.fromkeys([*self.conversion.columns, *self._keep]))
        with ThreadPoolExecutor(self._threads, "predict") as pool:
            pending: deque[Future[Scored]] = deque()
            first = 0
            for table in self._table.batches(columns):
                pending.append(pool.submit(self._score, table, first))
                first += table.height
                if len(pending) > self._threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _score(self, table: pl.DataFrame, first: int) -> Scored:
        converted = self.conversion.convert(table)
        predictor = self._predictors.get()
        try:
            scores = predictor.score_matrix(converted.matrix)
        finally:
            self._predictors.put(predictor)
        refused = converted.refused | _ragged(table)
        rows = pl.Series(ROW, np.arange(first, first + table.height, dtype=np.int64))
        kept = pl.DataFrame([*as_kept(table, self._keep, self._table.schema), rows])
        target = self._schema.target
        made = answers.columns(
            self._schema.task, target.scored, target.threshold, scores.astype(np.float64).reshape(table.height, -1)
        )
        model = pl.Series(MODEL, [self._digest], dtype=pl.Categorical).new_from_index(0, table.height)
        found = kept.with_columns(
            *(pl.Series(name, values) for name, values in made.items()), converted.fallbacks, model
        )
        aside = None
        if refused:
            places = sorted(refused)
            aside = kept[places].with_columns(pl.Series(REASONS, [refused[place] for place in places]))
            scored = np.ones(table.height, np.bool_)
            scored[places] = False
            found, scores = found.filter(scored), scores[scored]
        if not np.isfinite(scores).all():
            raise BundleError(
                f"the model {self._digest[:12]} gave a score that is NaN or infinite; a server would answer 500"
            )
        return Scored(
            found, aside, _counted(found["__fallbacks__"]), Told() if aside is None else _counted(aside[REASONS])
        )


def _ragged(table: pl.DataFrame) -> dict[int, str]:
    """Return the reason for each line of a CSV file that has more or fewer fields than the header."""
    if RAGGED not in table.columns:
        return {}
    places = table[RAGGED]
    return {
        row: json.dumps([{"field": None, "problem": f"more or fewer fields than the header: {places[row]}"}])
        for row in places.is_not_null().arg_true().to_list()
    }


def _counted(texts: pl.Series) -> Told:
    """Return the rows by field and problem."""
    found = Told()
    for text, count in texts.drop_nulls().value_counts().iter_rows():
        for each in json.loads(text):
            # A CSV line's own place is no kind of problem.
            found[each["field"], each["problem"] if each["field"] else each["problem"].partition(":")[0]] += count
    return found
