"""The dates of a country's holidays, fixed when the schema is fitted: serving uses the dates of training and needs no library."""

from __future__ import annotations

from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from pipelines.params.features.transforms import HolidayFeature

_YEARS_AHEAD = 5  # beyond the last training row, for a model that is served that long


def options(training: pl.DataFrame, feature: HolidayFeature, name: str) -> dict[str, Any]:
    """Return the options of `contract.model.transforms.holiday`: `dates` (days in lieu included), `first_year`, `last_year`.

    Raises:
        ConfigurationError: the country or subdivision has no known calendar, or no training row has a year.
    """
    import holidays

    first, last = feature.years or _years(training[feature.input], name)
    try:
        found = holidays.country_holidays(feature.country, subdiv=feature.subdivision, years=range(first, last + 1))
    except NotImplementedError as error:
        raise ConfigurationError(
            f"features.{name}: {error}; `country` is a code of ISO 3166 such as DE, `subdivision` one of its parts such as BY, as "
            "the package `holidays` knows them"
        ) from error
    dates = sorted(day.isoformat() for day in found if first <= day.year <= last)
    return {"dates": dates, "first_year": first, "last_year": last}


def _years(column: pl.Series, name: str) -> tuple[int, int]:
    """Return the first year of the column, and the last one plus `_YEARS_AHEAD`."""
    years = column.dt.year()
    if years.count() == 0:
        raise ConfigurationError(f"features.{name}: no training row has a value in {column.name!r}; declare `years`")
    return int(years.min()), int(years.max()) + _YEARS_AHEAD  # type: ignore[arg-type]
