"""The training rows as the workers of a cluster see them: the very files of this process, or the training would be another one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from pipelines.machine import cluster

_FOOTER_BYTES = 65_536
_SHOWN_S = 60.0
_Files = dict[str, tuple[int, str]]


def check(client: Any, workers: Sequence[str], directory: Path) -> None:
    """Check that workers see the files of a directory that this process sees; one that does not answer is not judged.

    A shared file system may show a new file late: NFS keeps listings for up to a minute.

    Raises:
        ConfigurationError: a worker sees others, or none.
    """
    expected, deadline = files(directory), time.monotonic() + _SHOWN_S
    while wrong := {
        worker: found
        for worker, found in cluster.asked(client, files, sorted(set(workers)), directory).items()
        if found != expected
    }:
        if time.monotonic() >= deadline:
            worker, found = min(wrong.items(), key=lambda item: item[0])
            raise ConfigurationError(
                f"train.scheduler: worker {worker} does not see the training rows in {directory}: {_difference(found, expected)}; give the "
                "workers this directory, readable, on a file system that all machines share"
            )
        time.sleep(1)


def files(directory: Path) -> _Files | str:
    """Return size and footer of each Parquet file by its name, or why they cannot be read.

    A footer has the sizes and the bounds of all columns, so other rows have another one. It comes as a SHA-256 in hex.
    """
    found: _Files = {}
    try:
        for path in directory.iterdir():
            if path.suffix == ".parquet":
                with path.open("rb") as stream:
                    size = stream.seek(0, os.SEEK_END)
                    stream.seek(max(0, size - _FOOTER_BYTES))
                    found[path.name] = size, hashlib.sha256(stream.read()).hexdigest()
    except OSError as error:
        return str(error.strerror)
    return found


def _difference(found: _Files | str, expected: _Files | str) -> str:
    """Return how what a worker sees differs from what this process sees."""
    if isinstance(found, str) or isinstance(expected, str):
        return found if isinstance(found, str) else str(expected)
    name = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if name not in found:
        return f"{name} is missing there"
    return f"{name} is another file there" if name in expected else f"{name} is there alone"
