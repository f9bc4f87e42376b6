"""Months collected ahead: the first process of a `dvc repro` collects every month that is missing, and each month's own takes it.

DVC runs a process for each month, and each would import the libraries and read the source anew. What was collected ahead lies in
`.dvc/tmp/ahead/<process>`, named after the DVC that runs, so that another run never takes it. Whatever goes wrong here costs time alone:
a month that is not there is collected by its own process.

This module is imported by a process that does nothing else, so it imports no library.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from contract.files import fsync_directory
from pipelines import paths
from pipelines.machine import usage

_AHEAD = Path(".dvc/tmp/ahead")


def take(month: str) -> str | None:
    """Move a month that was collected ahead to its place, and return the line of its counts; None if it was not."""
    place = directory(month)
    if place is None:
        return None
    target = paths.partition(month)
    with suppress(FileNotFoundError):
        said = (place / f"{month}.txt").read_text()
        target.parent.mkdir(parents=True, exist_ok=True)
        (place / f"{month}.parquet").replace(target)
        fsync_directory(target.parent)
        return said
    return None


def missing(months: list[str], month: str) -> list[str]:
    """Return the listed months after this one that are not collected."""
    later = months[months.index(month) + 1 :] if month in months else []
    return [other for other in later if not paths.partition(other).exists()]


def fresh_directory(month: str) -> Path | None:
    """Return an empty directory for the months collected ahead, without those of earlier runs; None if DVC runs no stage."""
    place = directory(month)
    if place is not None:
        shutil.rmtree(place.parent, ignore_errors=True)
        place.mkdir(parents=True)
    return place


def directory(month: str) -> Path | None:
    """Return the directory of the DVC that runs this month's stage; None if there is none."""
    root = os.environ.get("DVC_ROOT")
    if root is None or os.environ.get("DVC_STAGE") != f"collect@{month}":
        return None
    process = usage.dvc_process()
    return Path(root) / _AHEAD / usage.process_name(process) if process else None
