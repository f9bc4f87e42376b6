"""A root of only what a bundle's server needs, by bubblewrap: for its rehearsal, and for each replica.

Source: bwrap(1).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Libraries of the system, without its programs: there is no shell.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_SETTINGS = ("/etc/ld.so.cache", "/etc/localtime")
_LIMIT_S = 30


def bubblewrap() -> tuple[str, str]:
    """Return the path of `bwrap` and "", or "" and the reason why there is none."""
    found = shutil.which("bwrap")
    return (found, "") if found else ("", "bubblewrap is not on the PATH")


def mounts(python: Path, *readable: Path) -> list[str]:
    """Return bubblewrap's options for a root that holds an environment, its Python, the system's libraries and those paths, read-only."""
    options: list[str] = []
    paths = [path for path in map(Path, (*_LIBRARIES, *_SETTINGS)) if path.exists()]
    for path in (*paths, _base(python), python.parents[1], *readable):
        if path in paths and path.is_dir() and path.is_symlink():  # /lib, where the system has merged it into /usr
            options += ["--symlink", str(path.readlink()), str(path)]
        else:
            options += bind("--ro-bind", path)
    return options


def bind(option: str, path: Path) -> list[str]:
    """Return the options that mount a path where it is, below directories that every user may pass, as bubblewrap's own are not."""
    parents = [word for parent in reversed(path.parents) for word in ("--dir", str(parent))]
    return [*parents, option, str(path), str(path)]


def problem_of(command: Sequence[str]) -> str:
    """Return why a command in a sandbox fails, in one line; "" if it works."""
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap does not work here: {error}"
    said = " ".join(tried.stderr.split())[:200]
    return f"bubblewrap does not work here: {said or tried.returncode}" if tried.returncode else ""


def _base(python: Path) -> Path:
    """Return what the environment's interpreter needs of its installation; the system's own has its modules among the libraries."""
    interpreter = python.resolve()
    return interpreter if interpreter.parents[1] == Path("/usr") else interpreter.parents[1]
