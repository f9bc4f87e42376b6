"""One reader for every kind of source: the rows of a month, under the names of `data.columns`."""

from __future__ import annotations

from pipelines.params.params import Data
from pipelines.params.source import FilesSource, FlightsSource, SqlSource
from pipelines.stages.collect.shape import Rows


def read(data: Data, month: str) -> Rows:
    """Return the rows of a month such as `2013-01`, or of `all`; values may still be text, and the order is not defined.

    Raises:
        UnavailableError: the source does not answer, or has no file yet; a retry can help.
        ConfigurationError, DataRejectedError: the declaration, or the data, has to be corrected.
    """
    match data.source:
        case FlightsSource():
            from pipelines.stages.collect import flights

            return Rows(flights.month_of_flights(month))
        case FilesSource() as source:
            from pipelines.stages.collect import files

            return files.read(data, source, month)
        case SqlSource() as source:
            from pipelines.stages.collect import sql

            return Rows(sql.read(data, source, month))
