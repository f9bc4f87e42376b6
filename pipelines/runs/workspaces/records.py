"""The record of a run, which outlives its workspace: digests, commit, months, metrics and reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import canonical_json, sha256, write_atomically
from pipelines.runs.workspaces.workspace import Workspace

_SHOWN = 5


def record(workspace: Workspace) -> dict[str, str]:
    """Keep the run's `dvc.lock`, origin, metrics and reports, and return the record."""
    state = workspace.state()
    lock = workspace.path / "dvc.lock"
    if not lock.is_file():
        raise ConfigurationError(f"run {workspace.run!r} has produced nothing yet: {lock} is missing")
    write_atomically(workspace.recorded_lock, lock.read_bytes())
    _copy_reports(workspace.path, workspace.reports)
    entry = {
        "run": workspace.name,
        "commit": state.commit,
        "through": state.months[-1],
        "lock_sha256": sha256(workspace.recorded_lock),
        "reports": workspace.reports.as_uri(),
    }
    write_atomically(workspace.record, canonical_json(entry))
    return entry


def read_record(workspace: Workspace) -> dict[str, str]:
    """Return the record of a run.

    Raises:
        ConfigurationError: there is none, or it is broken.
    """
    try:
        entry: dict[str, str] = json.loads(workspace.record.read_bytes())
        if not {"commit", "through"} <= entry.keys():
            raise ValueError("no commit or no month")
    except FileNotFoundError:
        raise ConfigurationError(
            f"run {workspace.run!r} left no record in {workspace.record.parent}; {_recorded(workspace)}"
        ) from None
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{workspace.record} is broken ({error!r}): remove it, and name another run"
        ) from error
    return entry


def _recorded(workspace: Workspace) -> str:
    """Return the advice to name a recorded run, with the newest ones."""
    records = workspace.record.parent.glob("*.json")
    newest = sorted(records, key=lambda path: path.stat().st_mtime, reverse=True)[:_SHOWN]
    if not newest:
        return "no run is recorded yet: leave the run out to use the last commit"
    return f"name one of those that did, the newest first: {', '.join(path.stem for path in newest)}"


def _copy_reports(checkout: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    bundle = (f"build/bundle/{name}" for name in ("manifest.json", "sbom.cdx.json", "provenance.intoto.json"))
    for name in ("metrics.json", "reports", *bundle):
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
