"""The recorded run whose results a new one begins with."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from contract.files import sha256


def nearest(locks: Path, dag: str, commit: str, last: str) -> str | None:
    """Return the name of the DAG's newest recorded run on this commit with the latest months up to `last`; None if there is none.

    Runs of another DAG have other stages. Another commit may hold a `dvc.lock` of its own, which says what was collected.
    """
    found: list[tuple[str, float, str]] = []
    for path in locks.glob(f"{dag}.*.json"):
        with suppress(OSError, ValueError, KeyError):  # being written, or by another version
            entry = json.loads(path.read_bytes())
            if entry["commit"] == commit and entry["through"] <= last:
                found.append((entry["through"], path.stat().st_mtime, path.stem))
    for _, _, name in sorted(found, reverse=True):
        with suppress(OSError, ValueError, KeyError):
            if json.loads((locks / f"{name}.json").read_bytes())["lock_sha256"] == sha256(locks / f"{name}.dvc.lock"):
                return name
    return None
