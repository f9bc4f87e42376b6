"""Drift of a month from all earlier ones: pure functions on small summaries of columns.

The measure is the population stability index (PSI) to the most similar one of the earlier months, which the model learns from:
December may be unlike July, but not unlike every month so far. The usual PSI is learned from the table itself, column by column; a
chi-square test tells whether there are enough rows to say so.

Sources: PSI and its 0.1 for "no significant change": Siddiqi, Credit Risk Scorecards, 2006. Bound: the upper prediction limit for
one more observation of a normal variable (Hahn and Meeker, Statistical Intervals, 1991) on the root of the PSI, which is a distance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.model.reference import stability_index

TYPE = "distribution_like_an_earlier_month"
_ROWS = 500_000  # read of a larger month, evenly spread
_POINTS = 4096  # of a summary: shares are exact to 1/4096
_BINS = 10
_HEAVY = 0.05  # share of the rows from which a single value has its own bin
_REFERENCE_MONTHS = 24
_SHORTEST_HISTORY = 3
_NEGLIGIBLE_PSI = 0.1


@dataclass(frozen=True)
class Summary:
    """A column of a month: sorted distinct values (float64 or text), the rows that each stands for, and the number of nulls."""

    values: NDArray[Any]
    rows: NDArray[np.float64]
    missing: int

    @property
    def is_numeric(self) -> bool:
        return self.values.dtype.kind == "f"


@dataclass(frozen=True)
class Difference:
    """PSI in [0, ∞), and the probability of a chi-square as large between two samples of one distribution."""

    psi: float
    p_value: float


def summarize(column: pl.Series) -> Summary:
    """Return all distinct values of a column of numbers, booleans or text; of a number with many values, 4096 quantiles."""
    column, numeric = column.gather_every(-(-max(len(column), 1) // _ROWS)), column.dtype.is_numeric()
    known = (column.cast(pl.Float64).fill_nan(None) if numeric else column.cast(pl.String)).drop_nulls().sort()
    missing = len(column) - len(known)
    counts = known.rle().struct.unnest() if len(known) else pl.DataFrame({"len": [], "value": known})
    if numeric and counts.height > _POINTS:
        ranks = ((np.arange(_POINTS) + 0.5) * len(known) / _POINTS).astype(np.int64)
        return Summary(known.to_numpy()[ranks], np.full(_POINTS, len(known) / _POINTS), missing)
    values = counts["value"].to_numpy() if numeric else np.array(counts["value"].to_list(), dtype=object)
    return Summary(values, counts["len"].cast(pl.Float64).to_numpy(), missing)


def difference(reference: Summary, month: Summary) -> Difference:
    """Return the difference of the distributions of two months; missing is a value too."""
    if reference.is_numeric:
        edges = _edges(reference)
        bins = [np.searchsorted(edges, summary.values) for summary in (reference, month)]
        size = len(edges) + 1
    else:
        names = np.unique(np.concatenate([reference.values, month.values]))
        bins = [np.searchsorted(names, summary.values) for summary in (reference, month)]
        size = len(names)
    counts = np.array(
        [
            [*np.bincount(places, summary.rows, minlength=size), summary.missing]
            for places, summary in zip(bins, (reference, month), strict=True)
        ]
    )
    return Difference(stability_index(counts), _chi_square(counts))


def bound(history: Sequence[float], false_alarms: float) -> float | None:
    """Return the PSI that one more month exceeds by chance with probability `false_alarms`; None while the history is too short."""
    from scipy import special

    if len(history) < _SHORTEST_HISTORY:
        return None
    distances = np.sqrt(history)
    quantile = special.stdtrit(len(distances) - 1, 1 - false_alarms)
    limit = distances.mean() + quantile * distances.std(ddof=1) * np.sqrt(1 + 1 / len(distances))
    return max(_NEGLIGIBLE_PSI, float(limit) ** 2)


def judge(
    summaries: Mapping[str, Mapping[str, Summary]], false_alarms: float, reviewed: Collection[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Return an outcome by month and column; only earlier months judge a month, so later ones change nothing.

    Args:
        summaries: by month, in order, and column.
        false_alarms: the probability that a month like the earlier ones fails in any column; shared out among its columns
            (Bonferroni).
        reviewed: months that always pass; they count as history.

    An outcome holds `psi`, the `bound` on it (null: fewer than four months before), `p_value` and the month that is `nearest`.
    """
    months = list(summaries)
    outcomes: dict[str, list[dict[str, Any]]] = {month: [] for month in months}
    history: dict[str, list[float]] = {}
    for index, month in enumerate(months):
        for name, summary in summaries[month].items():
            earlier = [
                (before, summaries[before][name])
                for before in months[max(0, index - _REFERENCE_MONTHS) : index]
                if name in summaries[before] and summaries[before][name].is_numeric == summary.is_numeric
            ]
            if not earlier:
                continue
            found, nearest = min(
                ((difference(reference, summary), before) for before, reference in earlier),
                key=lambda pair: pair[0].psi,
            )
            share = false_alarms / len(summaries[month])
            past = history.setdefault(name, [])
            outcome = _outcome(name, found, bound(past[-_REFERENCE_MONTHS:], share), nearest, share)
            outcomes[month].append(outcome | {"success": outcome["success"] or month in reviewed})
            past.append(found.psi)
    return outcomes


def describe(outcome: Mapping[str, Any]) -> str:
    """Return a failed outcome as text: the evidence, and the next step."""
    observed = outcome["observed"]
    return (
        f"drift from all earlier months: PSI {observed['psi']:g} to {observed['nearest']}, the most similar one; the column's "
        f"history allows {observed['bound']:g} (chi-square test: p = {observed['p_value']:g}). If the change is real, "
        "list the month in validate.reviewed, or set may_drift for the column"
    )


def _outcome(name: str, found: Difference, limit: float | None, nearest: str, share: float) -> dict[str, Any]:
    differs = limit is not None and found.psi > limit and found.p_value < share
    return {
        "type": TYPE,
        "column": name,
        "kwargs": {"false_alarms": round(share, 6)},
        "success": not differs,
        "observed": {
            "psi": round(found.psi, 4),
            "bound": None if limit is None else round(limit, 4),
            "p_value": float(f"{found.p_value:.2g}"),
            "nearest": nearest,
        },
    }


def _edges(reference: Summary) -> NDArray[np.float64]:
    """Return the upper ends of bins: the deciles of the reference, and both sides of a value that many rows share."""
    if not len(reference.values):
        return np.empty(0)
    reached = np.cumsum(reference.rows) / reference.rows.sum()
    # 1e-9: a decile that the cumulated shares reach up to rounding counts as reached.
    deciles = reference.values[np.searchsorted(reached, np.arange(1, _BINS) / _BINS - 1e-9)]
    values, starts = np.unique(reference.values, return_index=True)
    heavy = values[np.add.reduceat(reference.rows, starts) >= _HEAVY * reference.rows.sum()]
    edges: NDArray[np.float64] = np.unique(np.concatenate([deciles, heavy, np.nextafter(heavy, -np.inf)]))
    return edges


def _chi_square(counts: NDArray[np.float64]) -> float:
    """Return the p-value of Pearson's test without a correction; `scipy.stats` would take longer to import than to compute it."""
    from scipy import special

    filled = counts[:, counts.sum(axis=0) > 0]
    if filled.shape[1] < 2 or not filled.sum(axis=1).all():
        return 1.0
    expected = filled.sum(axis=1, keepdims=True) * filled.sum(axis=0, keepdims=True) / filled.sum()
    freedom = (filled.shape[0] - 1) * (filled.shape[1] - 1)
    return float(special.chdtrc(freedom, ((filled - expected) ** 2 / expected).sum()))
