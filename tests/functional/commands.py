"""Commands in a copy of the project, in an environment that has nothing of the caller's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from contract.files import private_directory


def run(project: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command there to its end, whatever its exit code, with a store and a DVC site directory of the copy's own.

    `more` is added to the environment.
    """
    private_directory(project / "site" / "repo")  # which DVC would make for everybody to write to
    environment = {"BULKHEAD_TRAINING_WEIGHT": "none"} | more  # other tests run beside it
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(project),
        "BULKHEAD_STORE": str(project / "store"),
        "DVC_SITE_CACHE_DIR": str(project / "site"),
        "GIT_AUTHOR_NAME": "somebody",
        "GIT_AUTHOR_EMAIL": "somebody@localhost",
        "GIT_COMMITTER_NAME": "somebody",
        "GIT_COMMITTER_EMAIL": "somebody@localhost",
    }
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def printed(project: Path, *command: str) -> str:
    """What a command that succeeds prints."""
    done = run(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digests(project: Path) -> dict[str, str]:
    """The digests of all outputs in `dvc.lock`, by path."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
