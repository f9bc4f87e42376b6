"""Where the project and its state lie, and the environment of its commands. Standard library only, as `bin/airflow-watch` needs."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(os.environ.get("BULKHEAD_PROJECT", Path(__file__).parents[2]))
VAR = PROJECT / (os.environ.get("BULKHEAD_VAR") or "var")


def command_environment() -> dict[str, str]:
    """Return this environment without Airflow's settings: a stage must not see the database's address, nor the secret of tokens."""
    kept = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    return kept | {"BULKHEAD_PROGRESS": "1"}  # outcomes while the command runs
