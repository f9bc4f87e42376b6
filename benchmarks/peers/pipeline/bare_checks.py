"""The checks of a Great Expectations suite as plain DuckDB queries: python benchmarks/peers/pipeline/bare_checks.py FILE EXPECTATIONS

FILE is Parquet, EXPECTATIONS their JSON form. All counts are taken in one pass over the file. A script that is started and
never imported; it prints how many expectations it checked and how many failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

Asked = dict[str, Any]
TARGET: Any = yaml.safe_load(Path("params.yaml").read_text())["target"]
KEY: list[str] = yaml.safe_load(Path("params.yaml").read_text())["data"]["key"]
NEGATIVE, POSITIVE = TARGET["labels"]


def main(file: str, expectations: list[dict[str, Any]]) -> dict[str, int]:
    """Check the file; return the numbers of expectations checked and failed."""
    import duckdb

    label = f"CASE {TARGET['column']} WHEN '{POSITIVE}' THEN 1.0 WHEN '{NEGATIVE}' THEN 0.0 END AS __positive__"
    table = f"(SELECT *, {label} FROM read_parquet('{file}'))"
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
    counted, outcomes = [], []
    for entry in expectations:
        kind, asked = entry["type"], entry["kwargs"]
        if kind == "expect_table_columns_to_match_set":
            outcomes.append(set(kinds) == set(asked["column_set"]))
        elif kind == "expect_column_values_to_be_in_type_list":
            outcomes.append(kinds[asked["column"]] in ("DOUBLE", "VARCHAR", "TIMESTAMP", "BOOLEAN"))
        elif "no two rows" in asked.get("description", ""):
            query = f"SELECT count(*) FROM (SELECT 1 FROM {table} GROUP BY {', '.join(KEY)} HAVING count(*) > 1)"
            outcomes.append(_one(connection, query) == 0)
        elif kind == "unexpected_rows_expectation":
            query = asked["unexpected_rows_query"].format(batch=table)
            outcomes.append(_one(connection, f"SELECT count(*) FROM ({query})") == 0)
        else:
            counted.append(_condition(kind, asked))
    found = connection.execute(f"SELECT {', '.join(counted)} FROM {table}").fetchone()
    outcomes += [bool(outcome) for outcome in found or ()]
    return {"expectations": len(outcomes), "failed": outcomes.count(False)}


def _one(connection: Any, query: str) -> int:
    value: int = connection.execute(query).fetchone()[0]
    return value


def _condition(kind: str, asked: Asked) -> str:
    """Return a SQL condition on aggregates of the whole table."""
    column, mostly = asked.get("column"), asked.get("mostly", 1)
    low, high = asked.get("min_value"), asked.get("max_value")
    if kind == "expect_table_row_count_to_be_between":
        return f"count(*) BETWEEN {low} AND {high}"
    if kind == "expect_column_mean_to_be_between":
        return f"avg({column}) BETWEEN {low} AND {high}"
    if kind == "expect_column_values_to_not_be_null":
        return f"count({column}) >= {mostly} * count(*)"
    if kind == "expect_column_values_to_be_in_set":
        values = ", ".join(f"'{value}'" for value in asked["value_set"])
        return f"count(*) FILTER (WHERE {column} IN ({values})) >= {mostly} * count({column})"
    if kind == "expect_column_values_to_be_between":
        bounds = f"{column} BETWEEN {low} AND {high}"
        return f"count(*) FILTER (WHERE {bounds}) >= {mostly} * count({column})"
    raise ValueError(f"the peer does not support the expectation {kind}")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))))
