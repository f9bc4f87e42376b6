"""The suite, run by Great Expectations: results without row values, and Data Docs for people."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError, Problem
from pipelines.data import tables
from pipelines.machine.progress import Months
from pipelines.params.params import WHOLE, Data, Expectation, TargetParams, Validate
from pipelines.stages.validate import duckdb_views, library, suite

# Expectations that observe counts, rates or names of columns and types; the values of others could quote a row.
_OBSERVED = {
    "expect_table_row_count_to_be_between",
    "expect_table_columns_to_match_set",
    "expect_column_values_to_be_in_type_list",
    "expect_column_mean_to_be_between",
    "expect_column_unique_value_count_to_be_between",
    "unexpected_rows_expectation",
}
_WHOLE_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = ("element_count", "unexpected_count", "missing_count")


def check_months(
    data: Data,
    target: TargetParams,
    declared: Validate,
    files: Mapping[str, Path],
    rows: Mapping[str, int],
    varying: Mapping[str, Collection[str]],
    docs: Path,
) -> dict[str, list[dict[str, Any]]]:
    """Return the outcome of every expectation by month, and write Data Docs under `docs`.

    Args:
        files: Parquet file to check, by month.
        rows: number of rows that were delivered, by month, to tell of the progress.
        varying: by month, the columns with several values in another month; they must have several in this one too.

    An outcome holds `type`, `column`, `success`, the arguments (`kwargs`) and counts of rows, and no value of any row.
    """
    with library.quiet(), tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as beside:
        database = Path(directory) / "partitions.duckdb"
        views = beside.submit(duckdb_views.create_views, database, files, target, data.key)
        context = _context()
        _refuse_unknown(declared.expectations)
        views.result()
        source = context.data_sources.add_sql("partitions", connection_string=f"duckdb:///{database}")
        outcomes = {}
        progress = Months("validated", len(files))
        for month in files:
            asked = suite.expectations(data, target, declared, month, varying[month])
            outcomes[month] = _check_month(context, source, month, asked)
            progress.tell(month, rows[month])
        _build_docs(context, docs)
    return outcomes


def _context() -> Any:
    library.load()
    import great_expectations as gx

    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.ERROR)
    duckdb_views.teach_duckdb()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    return context


def _refuse_unknown(declared: Sequence[Expectation]) -> None:
    """Raise ConfigurationError for an expectation with a wrong name or arguments; of an unknown name the library makes no check at all."""
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    for index, entry in enumerate(declared):
        key = f"validate.expectations.{index}"
        try:
            ExpectationConfiguration(type=entry.type, kwargs=entry.kwargs).to_domain_obj()
        except ExpectationNotFoundError:
            close = get_close_matches(entry.type, list_registered_expectation_implementations(), n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise ConfigurationError(f"{key}.type: Great Expectations has no {entry.type!r}{meant}") from None
        except ValueError as error:  # pydantic's, of its first version
            found: list[dict[str, Any]] = getattr(error, "errors", list)()
            problems = [Problem(None, ".".join(map(str, each["loc"])), each["msg"]) for each in found]
            raise ConfigurationError(f"{key}.kwargs do not fit {entry.type}", problems) from None


def _check_month(context: Any, source: Any, month: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import great_expectations as gx

    name = duckdb_views.view_name(month)
    batch = source.add_table_asset(month, table_name=name).add_batch_definition_whole_table(month)
    definition = gx.ValidationDefinition(
        name=month, data=batch, suite=context.suites.add(gx.ExpectationSuite(name=month, expectations=asked))
    )
    # The month is the time of the run: the same data give the same results at any time.
    time = _WHOLE_TIME if month == WHOLE else tables.month_bounds(month)[0].replace(tzinfo=UTC)
    run = gx.RunIdentifier(run_name=month, run_time=time)
    # A partial list of unexpected values would copy values of rows into results and Data Docs.
    result = context.validation_definitions.add(definition).run(
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": 0}, run_id=run
    )
    return sorted(
        (_outcome(entry) for entry in result.results), key=lambda outcome: (outcome["type"], outcome["column"] or "")
    )


def _outcome(entry: Any) -> dict[str, Any]:
    config = entry.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key not in ("batch_id", "column")}
    outcome: dict[str, Any] = {
        "type": config.type,
        "column": config.kwargs.get("column"),
        "kwargs": json.loads(json.dumps(kwargs, default=str)),
        "success": bool(entry.success),
    }
    if config.description:
        outcome["description"] = config.description
    outcome |= {key: entry.result[key] for key in _COUNTS if key in entry.result}
    if config.type in _OBSERVED and "observed_value" in entry.result:
        outcome["observed"] = _plain(entry.result["observed_value"])
    if _raised(entry.exception_info):
        is_query = config.type == "unexpected_rows_expectation"
        cause = "is its query valid SQL of DuckDB?" if is_query else "is the column there, and of the declared type?"
        outcome["error"] = f"evaluation failed; {cause}"
    return outcome


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _raised(info: Any) -> bool:
    """Return True if the expectation itself failed to run; the text of its exception may quote values, so it is left out."""
    if not isinstance(info, dict):
        return False
    return bool(info.get("raised_exception")) or any(
        _raised(nested) for nested in info.values() if isinstance(nested, dict)
    )


def _build_docs(context: Any, directory: Path) -> None:
    from pipelines.stages.validate import docs

    docs.build(context, directory)
