"""The place of a run in a bucket, which BULKHEAD_RUNS names.

<run>/state.json     commit, months and results so far, changed by compare-and-swap
<run>/reports/…      metrics and reports so far
<run>/dvc.lock, record.json      once it is recorded
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from contract.store.providers import PROVIDERS, SCHEMES, Bucket, explained
from pipelines import paths
from pipelines.runs.workspaces.workspace import Workspace

VARIABLE = "BULKHEAD_RUNS"
_REPORTS = (paths.METRICS, "reports")


@dataclass(frozen=True)
class Shared:
    """The place of one run."""

    location: str
    workspace: Workspace

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket(f"{self.location}/{self.workspace.name}")

    def read(self) -> dict[str, Any] | None:
        """Return the run's state; None if it was never opened."""
        content = self.get("state.json")
        return None if content is None else json.loads(content)

    def get(self, key: str) -> bytes | None:
        """Return one object."""
        with explained(f"read a run in {VARIABLE}={self.location}"):
            found = self._bucket.read(key)
        return found.content if found else None

    def put(self, key: str, content: bytes) -> None:
        """Write one object."""
        with explained(f"write a run in {VARIABLE}={self.location}"):
            self._bucket.write(key, content)

    def change(self, how: Callable[[dict[str, Any] | None], dict[str, Any]]) -> dict[str, Any]:
        """Change the state by a function of the present one, again for each change of another worker's meanwhile."""
        while True:
            with explained(f"change a run in {VARIABLE}={self.location}"):
                before = self._bucket.read("state.json")
                after = how(json.loads(before.content) if before else None)
                if self._bucket.swap("state.json", canonical_json(after), before.version if before else None):
                    return after

    def put_tree(self, root: Path) -> None:
        """Write metrics and reports."""
        for path in (found for name in _REPORTS for found in [root / name, *(root / name).rglob("*")]):
            if path.is_file():
                self.put(f"reports/{path.relative_to(root).as_posix()}", path.read_bytes())

    def get_tree(self, root: Path) -> None:
        """Read metrics and reports into a workspace."""
        with explained(f"list a run in {VARIABLE}={self.location}"):
            names = list(self._bucket.list("reports"))
        for name in names:
            content = self.get(f"reports/{name}")
            if content is not None:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(root / name, content)


def of(workspace: Workspace) -> Shared | None:
    """Return the place of a run in BULKHEAD_RUNS; None without that variable.

    Raises:
        ConfigurationError: it is no bucket.
    """
    location = os.environ.get(VARIABLE)
    if not location:
        return None
    if location.partition("://")[0] not in PROVIDERS:
        raise ConfigurationError(f"{VARIABLE} is {location!r}; give bucket/prefix after one of {SCHEMES}")
    return Shared(location.rstrip("/"), workspace)
