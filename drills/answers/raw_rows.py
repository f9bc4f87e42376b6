"""A table with every kind of column, drawn at random and written in the forms of each kind of source; and its declaration."""

from __future__ import annotations

import csv
import math
import random
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

SOURCES = ("csv", "parquet", "sql")
MONTH = "2024-01"
BAD_SHARE = 0.02
Row = dict[str, Any]
_START = datetime(2024, 1, 1)
_EPOCH = datetime(1970, 1, 1)
_MISSING = 0.15
# Values that no column kind reads.
_BAD = {"amount": ("n.v.", 1e39), "flag": ("perhaps", 7), "epoch": ("soon", -(10**17)), "sent": ("someday", None)}

COLUMNS: dict[str, Any] = {
    "order": {"kind": "identifier"},
    "at": {"kind": "timestamp"},
    "sent": {"kind": "timestamp", "required": False, "missing_values": ["1900-01-01"]},
    "moment": {"kind": "timestamp", "required": False},
    "epoch": {"kind": "timestamp", "required": False, "unit": "ms", "missing_values": ["0"]},
    "day8": {"kind": "timestamp", "required": False, "unit": "yyyymmdd", "missing_values": ["99991231"]},
    "amount": {"kind": "number", "required": False, "missing_values": ["-1"], "minimum": -5, "maximum": 1000},
    "level": {"kind": "number"},
    "small": {"kind": "number", "required": False, "missing_values": ["-9.9"]},
    "flag": {"kind": "boolean", "required": False, "missing_values": ["9"]},
    "shop": {"kind": "category", "required": False},
    "code": {"kind": "category", "required": False, "missing_values": ["-1"]},
}
FEATURES: dict[str, Any] = {
    "at_minute": {"transform": "calendar", "input": "at", "part": "minute_of_day"},
    "sent_minute": {"transform": "calendar", "input": "sent", "part": "minute_of_day"},
    "moment_hour": {"transform": "calendar", "input": "moment", "part": "hour"},
    "epoch_day": {"transform": "calendar", "input": "epoch", "part": "day"},
    "day8_weekday": {"transform": "calendar", "input": "day8", "part": "weekday"},
    "amount": {"transform": "value"},
    "level": {"transform": "value"},
    "small": {"transform": "value"},
    "share": {"transform": "ratio", "inputs": ["amount", "level"]},
    "flag": {"transform": "value"},
    "shop": {"transform": "category", "minimum_count": 2},
    "code": {"transform": "category", "minimum_count": 2},
}
_SOURCE = {
    "version": "1",
    "missing": ["n/a"],
    "rename": {"Shop Name": "shop"},
    "combine": {"moment": {"columns": ["day", "hour"], "format": "%d/%m/%Y %H"}},
    "drop": ["day", "hour"],
}
_OF_KIND = {
    "csv": {"kind": "files", "path": "rows.csv", "separator": ";", "decimal": ","},
    "parquet": {"kind": "files", "path": "rows.parquet"},
    "sql": {"kind": "sql", "url": "sqlite:///rows.sqlite", "table": "rows", "cursor": "at"},
}


def declared(source: str, rows: int) -> dict[str, Any]:
    """Return the table's declaration, a part of `params.yaml`."""
    return {
        "name": "anything",
        "data": {
            "source": _SOURCE | _OF_KIND[source],
            "months": [MONTH],
            "time": "at",
            "key": ["order"],
            "columns": COLUMNS,
        },
        "target": {"column": "outcome", "task": "binary", "labels": ["no", "yes"]},
        "validate": {"rows": [1, rows], "budget": 0.2, "drift": None},
        "split": {"kind": "stratified"},
        "features": FEATURES,
        "train": {"seed": 1, "max_depth": 5, "learning_rate": 0.3, "max_rounds": 60, "early_stopping_rounds": 30},
        "tune": {},
        "evaluate": {},
        "gates": {},
        "serving": {},
    }


def drawn(source: str, count: int, seed: int) -> list[Row]:
    """Return random rows in the source's form; `order` identifies a row."""
    chance = random.Random(f"{source} {seed}")
    return [_row(source, index, chance) for index in range(count)]


def write(source: str, rows: list[Row], directory: Path) -> None:
    """Write the table to its declared place."""
    {"csv": _write_csv, "parquet": _write_parquet, "sql": _write_sql}[source](rows, directory)


def read_back(source: str, rows: list[Row]) -> list[Row]:
    """Return the rows as a reader of the source gets them: a float32 is no double, NaN is missing."""
    return (
        _frame(rows).with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S")).to_dicts()
        if source == "parquet"
        else rows
    )


def _row(source: str, index: int, chance: random.Random) -> Row:
    at = _START + timedelta(minutes=chance.randrange(31 * 1440))
    amount, level, flag = chance.randrange(1, 900) / 4, chance.uniform(0.5, 99), chance.random() < 0.5
    code, shop = chance.randrange(1, 5), chance.choice(["north", "south", "Ölmühle", "a b"])
    label = (amount > 110) != (code > 2) if chance.random() < 0.9 else flag
    values: Row = {
        "order": f"o{index:06}", "at": at, "sent": at + timedelta(minutes=chance.randrange(600)), "moment": at.replace(minute=0),
        "epoch": at, "day8": at.replace(hour=0, minute=0), "amount": amount, "level": level,
        "small": chance.randrange(100) / 8, "flag": flag, "shop": shop, "code": code,
    }  # fmt: skip
    for name, column in COLUMNS.items():
        if not column.get("required", True) and chance.random() < _MISSING:
            values[name] = None
    spelled = _SPELLED[source](values, chance) | {"outcome": "yes" if label else "no"}
    if chance.random() < BAD_SHARE:
        name = chance.choice(sorted(_BAD))
        text, native = _BAD[name]
        if source == "parquet":
            spelled[name] = native
        else:
            spelled[name] = text
    return spelled


def _as_csv(values: Row, chance: random.Random) -> Row:
    day, hour = _parts(values["moment"], chance, ["", "n/a", " "])
    return {
        "order": values["order"],
        "at": values["at"].strftime(chance.choice(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", " %Y-%m-%dT%H:%M:%S "])),
        "sent": _offset(values["sent"], chance) or chance.choice(["", "n/a", "1900-01-01"]),
        "day": day,
        "hour": hour,
        "epoch": _one(values["epoch"], chance, lambda at: [f"{_ms(at)}", f" {_ms(at)}.0 "], ["", "0", " 0 ", "n/a"]),
        "day8": _one(values["day8"], chance, lambda at: [at.strftime("%Y%m%d"), at.strftime(" %Y%m%d")], ["99991231", ""]),
        "amount": _one(values["amount"], chance, _with_comma, ["-1", " -1,0", "", "n/a", "NaN"]),
        "level": chance.choice(_with_comma(values["level"])),
        "small": _one(values["small"], chance, _with_comma, ["-9,9", "-9,90", "", "-9.9"]),
        "flag": _one(values["flag"], chance, lambda flag: ["true", " Yes ", "1"] if flag else ["FALSE", "no", "0"], ["9", "", "n/a"]),
        "Shop Name": _one(values["shop"], chance, lambda shop: [shop, f" {shop} "], ["n/a", " n/a ", ""]),
        "code": _one(values["code"], chance, lambda code: [str(code), f"{code} "], ["-1", ""]),
    }  # fmt: skip


def _as_sql(values: Row, chance: random.Random) -> Row:
    """Return values as SQLite holds them, numbers and text side by side in one column."""
    day, hour = _parts(values["moment"], chance, [None, "n/a"])
    if hour not in (None, "n/a") and chance.random() < 0.5:
        hour = int(str(hour))
    return {
        "order": values["order"],
        "at": values["at"].strftime(chance.choice(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])),
        "sent": _offset(values["sent"], chance) or chance.choice([None, "n/a", "1900-01-01"]),
        "day": day,
        "hour": hour,
        "epoch": _one(values["epoch"], chance, lambda at: [_ms(at), str(_ms(at))], [0, "0", None]),
        "day8": _one(values["day8"], chance, lambda at: [int(at.strftime("%Y%m%d"))], [99991231, None]),
        "amount": _one(values["amount"], chance, lambda number: [number, str(number)], [-1, -1.0, "-1", None, "n/a", ""]),
        "level": chance.choice([values["level"], repr(values["level"])]),
        "small": _one(values["small"], chance, lambda number: [number], [-9.9, None]),
        "flag": _one(values["flag"], chance, lambda flag: [int(flag), "yes" if flag else "no"], [9, "9", None]),
        "Shop Name": _one(values["shop"], chance, lambda shop: [shop, f"{shop} "], ["n/a", None]),
        "code": _one(values["code"], chance, lambda code: [code, str(code)], [-1, "-1", None]),
    }  # fmt: skip


def _as_parquet(values: Row, chance: random.Random) -> Row:
    day, hour = _parts(values["moment"], chance, [None, "n/a"])
    return {
        "order": values["order"],
        "at": values["at"],
        "sent": values["sent"],
        "day": day,
        "hour": int(str(hour)) if hour not in (None, "n/a") else None,
        "epoch": _one(values["epoch"], chance, lambda at: [_ms(at)], [0, None]),
        "day8": _one(values["day8"], chance, lambda at: [int(at.strftime("%Y%m%d"))], [99991231, None]),
        "amount": _one(values["amount"], chance, lambda number: [number], [-1.0, None, math.nan]),
        "level": values["level"],
        "small": _one(values["small"], chance, lambda number: [number], [-9.9, None, math.nan]),
        "flag": _one(values["flag"], chance, lambda flag: [int(flag)], [9, None]),
        "Shop Name": _one(values["shop"], chance, lambda shop: [shop], ["n/a", None, " "]),
        "code": _one(values["code"], chance, lambda code: [float(code)], [-1.0, None, math.nan]),
    }


_SPELLED: dict[str, Callable[[Row, random.Random], Row]] = {"csv": _as_csv, "parquet": _as_parquet, "sql": _as_sql}
_DTYPES: dict[str, Any] = {
    "at": pl.Datetime("us"), "sent": pl.Datetime("us", "UTC"), "hour": pl.Int8, "epoch": pl.Int64, "day8": pl.Int32, "amount": pl.Float64,
    "level": pl.Float64, "small": pl.Float32, "flag": pl.Int64, "Shop Name": pl.Categorical, "code": pl.Float64,
}  # fmt: skip


def _one(value: Any, chance: random.Random, spell: Callable[[Any], list[Any]], missing: list[Any]) -> Any:
    return chance.choice(missing if value is None else spell(value))


def _with_comma(number: float) -> list[str]:
    text = repr(number).replace(".", ",")
    return [text, f" {text}", f"+{text}", f"{text}0" if "," in text and "e" not in text else text]


def _offset(at: datetime | None, chance: random.Random) -> str | None:
    """Return the moment, in UTC, as a text with a random offset."""
    if at is None:
        return None
    hours = chance.choice([0, 2, -5])
    local = (at + timedelta(hours=hours)).strftime(chance.choice(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S"]))
    return local + (chance.choice(["Z", "+00:00"]) if not hours else f"{hours:+03}:00")


def _parts(at: datetime | None, chance: random.Random, missing: list[Any]) -> tuple[Any, Any]:
    day, hour = (at or _START).strftime("%d/%m/%Y"), str((at or _START).hour)
    if at is not None:
        return day, hour
    return (chance.choice(missing), hour) if chance.random() < 0.5 else (day, chance.choice(missing))


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _frame(rows: list[Row]) -> pl.DataFrame:
    utc = [row | {"sent": row["sent"] and row["sent"].replace(tzinfo=UTC)} for row in rows]
    return pl.DataFrame(utc, schema_overrides=_DTYPES, infer_schema_length=None)


def _write_csv(rows: list[Row], directory: Path) -> None:
    with (directory / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(rows: list[Row], directory: Path) -> None:
    _frame(rows).write_parquet(directory / "rows.parquet")


def _write_sql(rows: list[Row], directory: Path) -> None:
    names = ", ".join('"' + name + '"' for name in rows[0])
    connection = sqlite3.connect(directory / "rows.sqlite")
    with connection:
        connection.execute(f"CREATE TABLE rows ({names})")
        connection.executemany(
            f"INSERT INTO rows VALUES ({', '.join('?' * len(rows[0]))})", [tuple(row.values()) for row in rows]
        )
    connection.close()
