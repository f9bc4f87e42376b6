"""Load, servers, ports, processes and workspaces, for benchmarks, drills and tests."""

import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def interpreter(environment: str) -> Path:
    """Return the Python of an environment, which has the name of its lock in `requirements`."""
    return PROJECT / ".venv" / environment / "bin" / "python"


def files() -> list[str]:
    """Return the files of the working tree that Git tracks, or would if they were added, by their paths in the project."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout.decode().split("\0")
    return [name for name in names if name and (PROJECT / name).is_file()]
