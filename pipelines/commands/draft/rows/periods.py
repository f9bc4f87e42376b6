"""The temporal split for the times of a table; pure functions on times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from pipelines.commands.draft.doubts import Doubt, Weight
from pipelines.data import splits, tables
from pipelines.params.params import Gates, TemporalSplit

# Smallest shares of the labelled rows.
_FEWEST = {"training": 0.5, "validation": 0.03, "hold-out": 0.05}
_HOLDOUT, _VALIDATION = 0.8, 0.65  # share of the rows before them, where whole months or weeks do not fit


def propose(moments: pl.Series, months: Sequence[str]) -> tuple[dict[str, Any], list[Doubt]]:
    """Return the first periods with enough labelled rows in every part, and doubts.

    Args:
        moments: times of the labelled rows.
    """
    for holdout, validation in _candidates(moments, months):
        shares = _shares(moments, months, holdout, validation)
        if shares and all(share >= _FEWEST[part] for part, share in shares.items()):
            told = ", ".join(f"{share:.0%} {part}" for part, share in shares.items())
            question = f"{told} of the labelled rows: are these periods long enough?"
            return _split(holdout, validation), [
                Doubt("split", question, Weight.BOUNDS),
                *_few_days(moments, months, holdout, validation),
            ]
    question = "no periods leave enough labelled rows for training, validation and hold-out: will more months arrive?"
    return _split("7d", "5d"), [Doubt("split", question, Weight.FIGURES, strength=1.0)]


def _split(holdout: str, validation: str) -> dict[str, Any]:
    return {"kind": "temporal", "holdout": holdout, "validation": validation}


def _candidates(moments: pl.Series, months: Sequence[str]) -> Iterator[tuple[str, str]]:
    if len(months) > 5:
        yield "1mo", "1mo"
    if len(months) > 1:
        yield "1mo", "10d"
    yield from (("21d", "7d"), ("7d", "5d"))
    end = tables.month_bounds(months[-1])[1]
    held, validating = (moments.quantile(share, "nearest") for share in (_HOLDOUT, _VALIDATION))
    if held is not None:
        days = max(1, -(-(end - held) // timedelta(days=1)))  # type: ignore[operator]
        yield f"{days}d", f"{max(1, -(-(held - validating) // timedelta(days=1)))}d"  # type: ignore[operator]


def _few_days(moments: pl.Series, months: Sequence[str], holdout: str, validation: str) -> list[Doubt]:
    """Return a doubt if the hold-out has fewer days than `gates.clusters`, when evaluate asks a person."""
    held = moments.filter(moments >= _boundaries(months, holdout, validation).holdout)
    days, fewest = held.dt.date().n_unique(), Gates().clusters
    if days >= fewest:
        return []
    question = (
        f"a hold-out of {days} days proves little, and below {fewest} evaluate asks a person. Are so few enough? Then"
    )
    return [Doubt("gates", question, Weight.BOUNDS, strength=1.0, keys={"gates.clusters": max(days, 2)})]


def _boundaries(months: Sequence[str], holdout: str, validation: str) -> splits.Boundaries:
    return splits.boundaries(months, TemporalSplit(kind="temporal", holdout=holdout, validation=validation))


def _shares(moments: pl.Series, months: Sequence[str], holdout: str, validation: str) -> dict[str, float]:
    """Return the share of the rows in each part; empty if no time is left for training."""
    try:
        bounds = _boundaries(months, holdout, validation)
    except ConfigurationError:
        return {}
    parts = {
        "training": moments < bounds.training_end,
        "validation": moments.is_between(bounds.validation, bounds.validation_end, closed="left"),
        "hold-out": moments >= bounds.holdout,
    }
    return {part: float(rows.sum()) / max(len(moments), 1) for part, rows in parts.items()}
