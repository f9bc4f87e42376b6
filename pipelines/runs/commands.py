"""Working in a run's workspace: stages through DVC, and any other command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.integrity.check import check
from pipelines.runs.processes import run_group
from pipelines.runs.workspace import Workspace

# Variables that may name a file, by a path that begins in the project.
_FILES = ("BULKHEAD_SIGNING_KEY", "BULKHEAD_VERIFY_KEY", "SSL_CERT_FILE", "GOOGLE_APPLICATION_CREDENTIALS")
_STAGE_SHELL = Path(__file__).with_name("stage-shell")


def repro(workspace: Workspace, stages: Sequence[str], environment: Mapping[str, str]) -> int:
    """`dvc repro` of some stages and all that they need; what was computed before is restored from the shared cache.

    Returns:
        0, or the exit code of the stage's own command where a stage failed, or DVC's where DVC did.
    """
    with workspace.guard():
        code_file = workspace.path / ".git" / "stage-exit-code"
        code_file.unlink(missing_ok=True)
        _verify(workspace)
        extra = {"SHELL": str(_STAGE_SHELL), "BULKHEAD_STAGE_EXIT_CODE": str(code_file)}
        command = ["dvc", "--wait-for-lock", "repro", *stages]
        code = _run(workspace, command, {**environment, **extra}, name=" ".join(stages))
        return int(code_file.read_text()) if code and code_file.is_file() else code


def _verify(workspace: Workspace) -> None:
    """Heal what decayed before a stage uses it; DVC makes anew what is lost."""
    findings = check(workspace.path)
    for line in (*findings.healed, *map(str, findings.lost)):
        print(f"decayed: {line}", flush=True)


def execute(workspace: Workspace, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command in the workspace; returns its exit code."""
    with workspace.guard():
        return _run(workspace, command, environment, name=" ".join(command))


def environment_of(project: Path, var: Path) -> dict[str, str]:
    """What a command in a workspace sees: this environment's programs first, and the shared places by absolute path."""
    programs = Path(sys.executable).parent  # not resolved: a virtual environment is where its link lies
    store = os.environ.get("BULKHEAD_STORE", "store")
    # Every workspace has a site cache of its own, in .dvc/config.local, over which this variable would win.
    inherited = {name: value for name, value in os.environ.items() if name != "DVC_SITE_CACHE_DIR"}
    files = {name: project / inherited[name] for name in _FILES if "\n" not in inherited.get(name, "\n")}
    return {
        **inherited,
        **{name: str(path) for name, path in files.items() if path.exists()},
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "BULKHEAD_STORE": store if "://" in store else str(project / store),
        "BULKHEAD_VAR": str(var),
        "BULKHEAD_SOURCE_ROOT": str(source_root_of(project)),
    }


def source_root_of(project: Path) -> Path:
    """Where relative paths of `data.source` begin, in `dvc repro` and in a run alike: files that git does not have are in no clone."""
    return project / os.environ.get("BULKHEAD_SOURCE_ROOT", "")


def _run(workspace: Workspace, command: Sequence[str], environment: Mapping[str, str], *, name: str) -> int:
    workspace.mark(failed=name)  # until it is known that it did not: a kill -9 must not look like a success
    code = run_group(command, cwd=workspace.path, env=environment)
    if code == 0:
        workspace.mark(failed=None)
    return code
