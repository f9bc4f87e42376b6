"""The distribution of the training rows, in bins of every feature; servers count requests in the same bins.

The file reveals nobody: a bin has many rows or none, its ends are not values of rows, and features made from personal data have no bins
(`pipelines.stages.train.reference` ensures that).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import BundleError
from contract.files import canonical_json
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS

FILE_NAME = "reference.json"
FORMAT = 1
MISSING = "missing"
_NONE = np.empty(0, np.intp)  # NumPy concatenates one array or more


@dataclass(frozen=True)
class Bins:
    """The bins of one column of float32 numbers or codes, and the training rows in each.

    Attributes:
        names: distinct names of the bins; the last one is `missing`, for NaN.
        rows: number of training rows in each bin.
        edges: ascending, inclusive upper ends; a value lies before the first one, after the last one, or between two.
        places: bin of each of these len(edges) + 1 intervals. Several categories may share one.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    edges: tuple[float, ...]
    places: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raise ValueError unless the attributes are consistent."""
        bins = len(self.names)
        if len(set(self.names)) != bins or self.names[-1:] != (MISSING,) or bins != len(self.rows):
            raise ValueError(f"bins need distinct names, {MISSING!r} last, and as many counts of rows")
        if len(self.places) != len(self.edges) + 1 or not all(0 <= place < bins - 1 for place in self.places):
            raise ValueError("every interval between the edges needs a bin")
        if not all(map(math.isfinite, self.edges)) or any(a >= b for a, b in itertools.pairwise(self.edges)):
            raise ValueError("the edges must ascend")
        if any(type(count) is not int or count < 0 for count in self.rows):
            raise ValueError("the counts of rows must be whole numbers from 0")


class Counter:
    """A counter of float32 columns, each in its own bins."""

    def __init__(self, columns: Sequence[Bins]) -> None:
        # The last interval is that of NaN, which NumPy sorts after infinity.
        self._ends = [np.array([*bins.edges, math.inf, math.nan], np.float32) for bins in columns]
        sizes = [len(bins.names) for bins in columns]
        of_columns = [np.array([*bins.places, len(bins.names) - 1]) for bins in columns]
        self._places = np.concatenate([_NONE, *(of_column + sum(sizes[:n]) for n, of_column in enumerate(of_columns))])
        self._starts = np.cumsum([0, *map(len, self._ends[:-1])])
        self.total = sum(sizes)  # bins of all columns

    def count(self, columns: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the number of rows in each bin, column after column.

        Args:
            columns: of shape (columns, rows).
        """
        # Sorting is vectorized; a binary search for each value's bin mispredicts half of its branches.
        ordered = np.sort(columns, axis=1)
        found = [column.searchsorted(ends, "right") for column, ends in zip(ordered, self._ends, strict=True)]
        until = np.concatenate([_NONE, *found])
        rows = np.diff(until, prepend=0)
        rows[self._starts[1:]] += columns.shape[1]
        return np.bincount(self._places, rows, self.total).astype(np.int64)


@dataclass(frozen=True)
class Reference:
    """The bins of the features without personal data, in the order of the schema, and those of the predictions."""

    features: dict[str, Bins]
    prediction: Bins
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """Return the content of `reference.json`."""
        return canonical_json(asdict(self))

    @classmethod
    def from_bytes(cls, content: bytes, schema: FeatureSchema) -> Reference:
        """Return the reference that `to_bytes` wrote.

        Raises:
            BundleError: the content is not a reference, or is one of other features.
        """
        try:
            raw = json.loads(content)
            if raw.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            features = {name: _bins(entry) for name, entry in raw.pop("features").items()}
            prediction = _bins(raw.pop("prediction"))
            if raw:
                raise ValueError(f"unknown keys {sorted(raw)}")
            open_names = schema.open_features
            if sorted(features) != sorted(open_names):
                raise ValueError(f"its features are not {', '.join(open_names)}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"{FILE_NAME} is not a reference of format {FORMAT}: {error}") from error
        return cls({name: features[name] for name in open_names}, prediction)


def predicted(task: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values for the bins of the predictions: the score; of several labels the index of the most probable one; of quantiles
    the middle one.

    Args:
        scores: of `contract.model.predictor.Predictor.score_matrix`.
    """
    if TASKS[task].has_many_labels:
        scores = scores.argmax(axis=1).astype(np.float32)
    elif TASKS[task].has_quantiles:
        scores = np.ascontiguousarray(scores[:, scores.shape[1] // 2])
    return scores


def stability_index(counts: Sequence[Sequence[float] | NDArray[Any]] | NDArray[Any]) -> float:
    """Return the population stability index (PSI) of two rows of counts in the same bins, in [0, ∞); 0 for equal shares.

    Half a row is added to every bin, so that an empty one does not give infinity.

    Source: Siddiqi, Credit Risk Scorecards, 2006; below 0.1 nothing significant has changed, above 0.25 much has.
    """
    filled = np.asarray(counts, np.float64) + 0.5
    before, now = filled / filled.sum(axis=1, keepdims=True)
    logarithms = list(
        map(math.log, (now / before).tolist())
    )  # the last bits of NumPy's logarithms depend on the processor
    return float(((now - before) * logarithms).sum())


def _bins(raw: dict[str, Any]) -> Bins:
    return Bins(**{key: tuple(value) for key, value in raw.items()})
