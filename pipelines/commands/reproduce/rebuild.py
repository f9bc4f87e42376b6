"""A bundle built again: in a clone of its commit, with an empty cache, from its own partitions and params."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from contract.bundle import signature
from contract.errors import BundleError, ConfigurationError, UnavailableError
from contract.files import private_directory, sha256
from contract.store.store import Store
from pipelines import paths
from pipelines.commands.reproduce.inputs import Inputs
from pipelines.paths import var_directory

_INSTALLED = "installed.txt"  # a copy of the lock, in every environment that `make` makes
_SHOWN = 3_000  # characters of the output of a failed command


def rebuild(inputs: Inputs, directory: Path) -> Path:
    """Build the bundle in a workspace below `directory`, and return its path.

    Raises:
        BundleError: the pipeline failed; with the end of its output.
        UnavailableError: the environment of the commit cannot be installed.
    """
    workspace = directory / "project"
    _clone(inputs, workspace)
    (workspace / "params.yaml").write_bytes(inputs.params)
    (workspace / "dvc.lock").unlink(missing_ok=True)  # its results are not in the cache of this clone
    for path, copy in inputs.partitions.items():
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(copy, workspace / path)
    environment = _environment(workspace, _interpreter(inputs, workspace))
    if inputs.champion is not None:
        _make_live(inputs.champion, Store(environment["BULKHEAD_STORE"], private_key=signature.make_key()))
    # The months are taken as collected; the source may be gone, or have been corrected.
    _run(["dvc", "repro", "declare"], workspace, environment)
    _run(["dvc", "commit", "--force", "collect"], workspace, environment)
    _run(["dvc", "repro", "bundle"], workspace, environment)
    return workspace / paths.BUNDLE


def _clone(inputs: Inputs, workspace: Path) -> None:
    for command in (
        ["git", "clone", "--quiet", "--shared", "--no-checkout", str(inputs.project), str(workspace)],
        ["git", "-C", str(workspace), "checkout", "--quiet", "--detach", inputs.commit],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _interpreter(inputs: Inputs, workspace: Path) -> Path:
    """Return the programs of an environment with the lock of the bundle: this one's, or those of one that is installed now."""
    own = Path(sys.executable).parent  # not resolved: the link lies in the environment, its target does not
    installed = own.parent / _INSTALLED
    if installed.is_file() and sha256(installed) == inputs.lock_sha256:
        return own
    name = Path(inputs.lock).stem
    done = subprocess.run(
        ["make", "--quiet", f".venv/{name}/{_INSTALLED}"],
        cwd=workspace,
        # `make` checks that the paths of a fleet's sockets are short, and no fleet runs in this workspace.
        env=os.environ | {"BULKHEAD_VAR": tempfile.gettempdir()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(
            f"the environment of the bundle ({inputs.lock}, SHA-256 {inputs.lock_sha256[:12]}) differs from this one, and cannot be "
            f"installed:\n{(done.stdout + done.stderr)[-_SHOWN:]}"
        )
    return workspace / ".venv" / name / "bin"


def _environment(workspace: Path, programs: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BULKHEAD_", "DVC_"))}
    var, site = workspace / "var", workspace / "var" / "dvc-site"
    private_directory(site / "repo")  # DVC would make it and its parents world-writable
    shared = var_directory().absolute() / "environments"  # named by their locks
    private_directory(shared)
    (var / shared.name).symlink_to(shared)
    return inherited | {
        "PATH": f"{programs}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "BULKHEAD_STORE": str(workspace / "store"),
        "BULKHEAD_VAR": str(var),
        "DVC_SITE_CACHE_DIR": str(site),
    }


def _make_live(bundle: Path, store: Store) -> None:
    """Let the stage `champion` find this bundle live, as it was when the other one was judged."""
    store.move("live", store.put(bundle), expected=None, by="reproduce")


def _run(command: list[str], workspace: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=workspace,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BundleError(f"`{' '.join(command)}` failed in a clone of the commit:\n{done.stdout[-_SHOWN:].strip()}")
