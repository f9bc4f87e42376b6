"""Commands in a run's workspace: stages through DVC, and any other command."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pipelines.machine import usage
from pipelines.runs.holding import MARK
from pipelines.runs.months import recollected
from pipelines.runs.outcomes import facts
from pipelines.runs.outcomes.outcome import PROGRESS, Progress, line_of
from pipelines.runs.processes import run_group
from pipelines.runs.stages import plan
from pipelines.runs.workspaces import sharing
from pipelines.runs.workspaces.workspace import Workspace

# Variables that may name a file, by a path relative to the project.
_FILES = (
    "BULKHEAD_SIGNING_KEY",
    "BULKHEAD_VERIFY_KEY",
    "SSL_CERT_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_SHELLS = Path(__file__).parent / "stages"
_RESTORE = _SHELLS / "restore.py"


def repro(
    workspace: Workspace,
    stages: Sequence[str],
    environment: Mapping[str, str],
    *,
    force: bool = False,
    dry_run: bool = False,
) -> int:
    """Run `dvc repro` of some stages and their upstream, with earlier results from the shared cache; print the outcome.

    Args:
        force: the stages of the DAG run although nothing changed.
        dry_run: no stage runs; what the cache holds is fetched into the workspace, and the outcome says what would run.

    Returns:
        0, or the exit code of the failed stage's own command, or DVC's if DVC failed.

    Raises:
        ConfigurationError: the run is not open, its `dvc.yaml` has no such stage, or `force` or `dry_run` finds no compiled graph in its
            commit, or a broken one.
    """
    show = partial(print, flush=True) if PROGRESS in environment else None
    with workspace.guard():
        code_file = workspace.path / ".git" / "stage-exit-code"
        code_file.unlink(missing_ok=True)
        # DVC takes the number of an attempt that was killed, and that no parent has waited for yet, for a running process's.
        (workspace.path / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
        lacking = sharing.join(workspace)
        again = recollected.targets(workspace.state().again)
        plan.require(stages, workspace.path)
        progress = Progress(stages, show, dry_run=plan.needed(stages, workspace.path) if dry_run else ())
        planned = plan.commands(stages, workspace.path, again=again, force=force, dry_run=dry_run)
        planned[0][:1] = [sys.executable, str(_RESTORE)]
        if lacking:
            sharing.pull(workspace)
        # The costs of all tasks of a run are one run's.
        refused = workspace.path / ".git" / "dry-run"
        refused.unlink(missing_ok=True)
        extra = {
            "SHELL": str(_SHELLS / ("preview-shell" if dry_run else "stage-shell")),
            "BULKHEAD_STAGE_EXIT_CODE": str(code_file),
            "BULKHEAD_PREVIEW": str(refused),
            usage.RUN: workspace.name,
        }
        code = 0
        for command in planned:
            pulling = sharing.pulling(command)
            code = _run(workspace, pulling, {**environment, **extra}, name=" ".join(stages), read=progress.read)
            if dry_run and refused.is_file() and not code_file.is_file():
                code = 0  # DVC takes a stage that was not run for failed
                workspace.mark(failed=None)
            if code:
                break
            if again and command[-len(again) :] == again and not dry_run:
                workspace.collected_again()
        progress.end(code)
        if not dry_run:
            sharing.share(workspace)
        for stage in progress.stages.values():
            facts.complete(stage, workspace.path)
        # A failed run keeps its workspace; of another one the reports are kept.
        kept = workspace.path if code else workspace.reports
        print(progress.outcome(code, facts.links(progress.stages, workspace.path, kept)), flush=True)
        return int(code_file.read_text()) if code and code_file.is_file() else code


def execute(workspace: Workspace, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command in the workspace, print its outcome, and return its exit code."""
    started = time.monotonic()
    with workspace.guard():
        if sharing.join(workspace):
            sharing.pull(workspace)
        code = _run(workspace, command, environment, name=" ".join(command))
        sharing.share(workspace)
        name = command[list(command).index("pipelines") + 1] if "pipelines" in command[:-1] else command[0]
        found = {} if code else facts.facts_of(name, workspace.path)
    state = "failed" if code else "ran"
    print(json.dumps(line_of(name, state, time.monotonic() - started, facts=found)), flush=True)
    return code


def environment_of(project: Path, var: Path) -> dict[str, str]:
    """Return the environment of commands in a workspace: this interpreter's programs first, shared places as absolute paths."""
    programs = Path(
        sys.executable
    ).parent  # not resolved: the link lies in the virtual environment, its target does not
    # This variable would override the workspace's own site cache, in .dvc/config.local.
    inherited = {name: value for name, value in os.environ.items() if name != "DVC_SITE_CACHE_DIR"}
    files = {name: project / inherited[name] for name in _FILES if "\n" not in inherited.get(name, "\n")}
    return {
        **inherited,
        **{name: str(path) for name, path in files.items() if path.exists()},
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "BULKHEAD_STORE": _place("BULKHEAD_STORE", project, Path("store")),
        "BULKHEAD_CHECKPOINTS": _place("BULKHEAD_CHECKPOINTS", project, var / "checkpoints"),
        "BULKHEAD_VAR": str(var),
        "BULKHEAD_SOURCE_ROOT": str(source_root_of(project)),
    }


def _place(variable: str, project: Path, default: Path) -> str:
    """Return the variable's directory as an absolute path, or its URL."""
    location = os.environ.get(variable) or str(default)
    return location if "://" in location else str(project / location)


def source_root_of(project: Path) -> Path:
    """Return the base of relative paths in `data.source`: the project's, since a clone lacks files outside git."""
    return project / os.environ.get("BULKHEAD_SOURCE_ROOT", "")


def _run(
    workspace: Workspace,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    name: str,
    read: Callable[[str], None] | None = None,
) -> int:
    workspace.mark(failed=name)  # until it succeeds: a kill -9 must not look like a success
    marked = {**environment, MARK: str(workspace.guard_file)}
    code = run_group(command, cwd=workspace.path, env=marked, read=read)
    if code == 0:
        workspace.mark(failed=None)
    return code
