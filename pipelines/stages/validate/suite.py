"""The Great Expectations suite of a month, made from `params.yaml`."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from contract.schema.kinds import bounds
from contract.schema.tasks import TASKS
from pipelines.columns.kinds import KINDS
from pipelines.data import tables
from pipelines.params.params import WHOLE, Column, Data, TargetParams, Validate
from pipelines.stages.validate.duckdb_views import POSITIVE, repeated_name


def expectations(
    data: Data, target: TargetParams, declared: Validate, month: str, varying: Collection[str]
) -> list[dict[str, Any]]:
    """Return every expectation on a month, in Great Expectations' JSON form: `type` and `kwargs`.

    Columns of `varying` may not be constant.
    """
    suite = _table(data, target.column, declared, month)
    for name, column in data.columns.items():
        suite += _column(name, column)
        if name in varying and not column.may_be_constant:
            suite.append(
                _expect(
                    "expect_column_unique_value_count_to_be_between",
                    description=f"{name} has several values, as in other months (unless it may_be_constant)",
                    column=name,
                    min_value=2,
                )
            )
    suite += _target(target, declared.positive_rate)
    suite += [{"type": entry.type, "kwargs": entry.kwargs} for entry in declared.expectations]
    return suite


def _table(data: Data, target: str, declared: Validate, month: str) -> list[dict[str, Any]]:
    minimum, maximum = declared.rows
    return [
        _expect("expect_table_row_count_to_be_between", min_value=minimum, max_value=maximum),
        _expect(
            "expect_table_columns_to_match_set",
            description="the columns are those of data.columns, and the target; data.source.drop leaves others out",
            column_set=sorted({*data.columns, target, POSITIVE}),
            exact_match=True,
        ),
        *_uniqueness(data.key, month),
        *_calendar(data, declared.freshness, month),
    ]


def _uniqueness(key: tuple[str, ...], month: str) -> list[dict[str, Any]]:
    if not key:
        return []
    return [
        _expect(
            "unexpected_rows_expectation",
            description=f"no two rows share {', '.join(key)}",
            unexpected_rows_query=f"SELECT unnest(range(copies)) FROM {repeated_name(month)} WHERE EXISTS (SELECT 1 FROM {{batch}})",
        )
    ]


def _calendar(data: Data, freshness: str | None, month: str) -> list[dict[str, Any]]:
    """Return the expectations on time: all rows lie in the month, the newest at most `freshness` before its end."""
    if month == WHOLE:
        return []
    start, end = tables.month_bounds(month)
    within = _expect(
        "expect_column_values_to_be_between",
        description=f"every row lies in {month}",
        column=data.time,
        min_value=start.isoformat(),
        max_value=end.isoformat(),
        strict_max=True,
    )
    if freshness is None:
        return [within]
    reaches_end = _expect(
        "expect_column_max_to_be_between",
        description=f"{month} is complete: its newest row lies at most {freshness} before its end (validate.freshness). If the month is "
        "still under way, or was delivered in part, remove it from data.months until it is complete",
        column=data.time,
        min_value=tables.offset(end, f"-{freshness}").isoformat(),
    )
    return [within, reaches_end]


def _column(name: str, column: Column) -> list[dict[str, Any]]:
    mostly = _others(column.tolerance)
    suite = [
        _expect("expect_column_values_to_be_in_type_list", column=name, type_list=list(KINDS[column.kind].duckdb)),
        _expect("expect_column_values_to_not_be_null", column=name, mostly=_others(column.missing_budget)),
    ]
    if column.minimum is not None or column.maximum is not None:
        low, high = bounds(column.minimum, column.maximum)
        within = {
            "min_value": low if column.minimum is not None else None,
            "max_value": high if column.maximum is not None else None,
        }
        suite.append(_expect("expect_column_values_to_be_between", column=name, mostly=mostly, **within))
    if column.values is not None:
        suite.append(
            _expect("expect_column_values_to_be_in_set", column=name, value_set=list(column.values), mostly=mostly)
        )
    return suite


def _others(share: float) -> float:
    """Return what a share leaves, of its decimal digits: 1 - 0.98 is more than 0.02, so 98 rows of 100 would be more than 0.98."""
    return float(1 - Decimal(str(share)))


def _target(target: TargetParams, rate: tuple[float, float]) -> list[dict[str, Any]]:
    suite = [_expect("expect_column_values_to_not_be_null", column=target.column, mostly=_others(target.missing))]
    if TASKS[target.task].is_number:
        return [
            *suite,
            _expect(
                "expect_column_values_to_be_in_type_list", column=target.column, type_list=list(KINDS["number"].duckdb)
            ),
        ]
    suite.append(_expect("expect_column_values_to_be_in_set", column=target.column, value_set=list(target.labels)))
    if TASKS[target.task].has_positive:
        suite.append(
            _expect(
                "expect_column_mean_to_be_between",
                description=f"share of {target.labels[1]!r} in {target.column} (validate.positive_rate); None: no row has a label",
                column=POSITIVE,
                min_value=rate[0],
                max_value=rate[1],
            )
        )
    return suite


def _expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": {key: value for key, value in kwargs.items() if value is not None}}
