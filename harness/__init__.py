"""Load, servers, ports, processes and workspaces, for benchmarks, drills and tests."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]


def interpreter(environment: str) -> Path:
    """Return the Python of an environment, which has the name of its lock in `requirements`."""
    return PROJECT / ".venv" / environment / "bin" / "python"
