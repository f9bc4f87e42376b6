"""The commands about run workspaces, for the tasks of the DAGs and for people."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract import command_line
from contract.errors import EXIT_DATA, BulkheadError, ConfigurationError, UsageError
from pipelines.runs import commands, graph, processes
from pipelines.runs.outcomes.description import description
from pipelines.runs.outcomes.outcome import line_of
from pipelines.runs.workspaces import sharing
from pipelines.runs.workspaces.opening import uncommitted
from pipelines.runs.workspaces.workspace import Workspace, open_workspaces

_SHOWN = 10


def add_commands(subparsers: Any) -> None:
    """Add `open`, `repro`, `exec`, `record`, `close`, `list` and `compile`; each sets `run_command`, a function of the options."""
    opening = _add(subparsers, "open", _open, "create the workspace of a run, or find it again")
    opening.add_argument(
        "--through", default="", metavar="MONTH", help="the last month (default: the last one in params.yaml)"
    )
    opening.add_argument(
        "--like", default="", metavar="RUN", help="start from the commit, months and results of this run"
    )
    opening.add_argument(
        "--again",
        default="",
        metavar="MONTHS",
        help="collect these months again, such as 2013-03,2013-04: rows came late",
    )
    repro = _add(subparsers, "repro", _repro, "run stages in the workspace of a run")
    repro.add_argument("stages", nargs="+", metavar="STAGE", help="its name in dvc.yaml; `collect` means every month")
    no = argparse.BooleanOptionalAction
    repro.add_argument("--force", action=no, default=False, help="run the stages of the DAG although nothing changed")
    repro.add_argument("--dry-run", action=no, default=False, help="run no stage; say which would run")
    execute = _add(subparsers, "exec", _execute, "run a command in the workspace of a run")
    execute.add_argument("arguments", nargs="+", metavar="-- COMMAND")
    _add(subparsers, "record", _record, "keep the dvc.lock and the reports of a run; print the record in its outcome")
    closing = _add(subparsers, "close", _close, "record a run and remove its workspace, or keep it if the run failed")
    closing.add_argument("--dry-run", action=no, default=False, help="record nothing")
    _add(subparsers, "describe", _describe, "print the evaluation in the workspace of a run as Markdown")
    _add(subparsers, "list", _list, "list the workspaces", of_run=False)
    compiling = _add(subparsers, "compile", _compile, f"write {graph.FILE_NAME} from dvc.yaml", of_run=False)
    compiling.add_argument(
        "--open-ended", action="store_true", help="schedule months after the last one in params.yaml"
    )
    compiling.add_argument(
        "--catch-up-from", metavar="MONTH", help="schedule the months from this one on, even those that were missed"
    )
    compiling.add_argument("--check", action="store_true", help="write nothing; fail if the file is stale or broken")


def _add(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, *, of_run: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    parser.set_defaults(run_command=run)
    if of_run:
        parser.add_argument("--run", required=True, help="the run's name; any text")
    return parser


def _workspace(run: str) -> Workspace:
    project = _project()
    if not run:
        raise UsageError("--run is empty; give the run a name")
    var = _var(project)
    try:
        var.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise ConfigurationError(
            f"BULKHEAD_VAR: {var} is no directory, and cannot become one: {error.strerror}"
        ) from None
    return Workspace(project, var, run)


def _project() -> Path:
    project = Path.cwd()
    if not (project / "dvc.yaml").is_file():
        raise ConfigurationError(f"{project} has no dvc.yaml; run this command in the project's root")
    return project


def _var(project: Path) -> Path:
    return project / (os.environ.get("BULKHEAD_VAR") or "var")


def _open(options: argparse.Namespace) -> int:
    workspace = _workspace(options.run)
    like = _workspace(options.like) if options.like else None
    now = datetime.now(UTC).strftime("%Y-%m")
    collect_again = [month for month in options.again.split(",") if month]
    try:
        state = sharing.open_run(workspace, through=options.through or None, like=like, again=collect_again, now=now)
    except ConfigurationError:  # perhaps of a params.yaml that is not committed
        with suppress(BulkheadError):
            _tell_uncommitted(workspace.project)
        raise
    print(f"{workspace.path}: commit {state.commit[:12]}, months {state.months[0]} to {state.months[-1]}")
    _tell_uncommitted(workspace.project)
    print(f"relative paths of data.source start at {commands.source_root_of(workspace.project)}")
    return 0


def _tell_uncommitted(project: Path) -> None:
    if changed := uncommitted(project):
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        print(f"uncommitted, so not in the workspace: {', '.join(changed[:_SHOWN])}{more}", flush=True)


def _repro(options: argparse.Namespace) -> int:
    workspace = _workspace(options.run)
    processes.die_with_parent()
    environment = commands.environment_of(workspace.project, workspace.var)
    return commands.repro(workspace, options.stages, environment, force=options.force, dry_run=options.dry_run)


def _execute(options: argparse.Namespace) -> int:
    workspace = _workspace(options.run)
    processes.die_with_parent()
    return commands.execute(workspace, options.arguments, commands.environment_of(workspace.project, workspace.var))


def _record(options: argparse.Namespace) -> int:
    started = time.monotonic()
    entry = sharing.record_run(_workspace(options.run))
    print(json.dumps(line_of("record", "ran", time.monotonic() - started, facts=entry)))
    return 0


def _close(options: argparse.Namespace) -> int:
    print(sharing.close_run(_workspace(options.run), keep=not options.dry_run))
    return 0


def _describe(options: argparse.Namespace) -> int:
    workspace = _workspace(options.run)
    state = workspace.state()
    print(description(workspace.path, state.months, state.commit))
    return 0


def _list(_options: argparse.Namespace) -> int:
    project = _project()
    found = open_workspaces(project, _var(project))
    if not found:
        command_line.tell("there is no workspace: no run is at work, and none has failed")
    for workspace, state in found.items():
        doing = "running" if workspace.is_busy else "failed in"
        outcome = f"{doing} {state.failed}" if state.failed else "open"
        print(f"{workspace.path}\t{state.months[0]}..{state.months[-1]}\t{outcome}")
    return 0


def _compile(options: argparse.Namespace) -> int:
    project = _project()
    if options.check:
        if graph.is_current(project):
            return 0
        print(f"{graph.FILE_NAME} is stale or broken: run `python -m pipelines.runs compile`")
        return EXIT_DATA
    print(graph.write(project, open_ended=options.open_ended, catch_up_from=options.catch_up_from))
    return 0
