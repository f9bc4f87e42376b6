"""Close a workspace: record the run and remove it, or keep it as evidence."""

from __future__ import annotations

from contextlib import suppress

from pipelines.runs.workspaces.records import record
from pipelines.runs.workspaces.workspace import Workspace, open_workspaces, read_state, remove

KEPT_FAILED = 5


def close_workspace(workspace: Workspace, *, keep: bool = True) -> str:
    """Record and remove a workspace, or keep it as evidence if its last command failed; return a summary.

    Args:
        keep: false for a dry run, which leaves no record.
    """
    with workspace.guard():
        if not workspace.path.exists():
            return f"{workspace.name} has no workspace: it is closed already, or was never opened"
        failed = workspace.state().failed
        if failed:
            remove_oldest_failed(workspace)
            return f"{workspace.name} failed in {failed}; its workspace is kept as evidence: {workspace.path}"
        if keep and (workspace.path / "dvc.lock").is_file():
            record(workspace)
        remove(workspace.path)
    if not keep:
        return f"{workspace.name} is closed; a dry run leaves no record"
    return f"{workspace.name} is closed; the digests of its results are in {workspace.recorded_lock}"


def remove_oldest_failed(like: Workspace, keep: int = KEPT_FAILED) -> None:
    """Remove all but the newest failed workspaces; busy ones stay."""
    found = open_workspaces(like.project, like.var)
    # A busy workspace is marked as failed until its command succeeds.
    failed = [workspace for workspace, state in found.items() if state.failed and not workspace.is_busy]
    for workspace in failed[: max(0, len(failed) - keep)]:
        # Since then a task that was cleared may have begun or succeeded there, or another run's `close` have removed it.
        with workspace.kept_idle() as idle, suppress(FileNotFoundError):
            if idle and read_state(workspace.path).failed:
                remove(workspace.path)
