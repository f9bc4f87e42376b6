"""What the real runs ask of the machine: ports that are free, processes that are left, time that passes."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from harness import PROJECT, processes

COMMAND = PROJECT / "bin" / "airflow-local"


def install(root: Path, airflow: str) -> Path:
    """`bin/airflow-local` in a project of its own, with a script in place of Airflow; components get a second to stop."""
    command, program = root / "bin" / "airflow-local", root / ".venv" / "orchestrator" / "bin" / "airflow"
    for path, content in ((command, COMMAND.read_text()), (program, airflow)):
        path.parent.mkdir(parents=True)
        path.write_text(content)
        path.chmod(0o755)
    for name in ("contract", "fleet", "requirements", ".venv/fleet"):
        (root / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "airflow_local", root / "airflow_local", ignore=shutil.ignore_patterns("__pycache__"))
    settings = root / "airflow_local" / "site.py"
    settings.write_text(settings.read_text().replace("STOP_LIMIT_S = 15", "STOP_LIMIT_S = 1"))
    return command


def without_airflow() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}


def listening_addresses(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which somebody listens to the port; IPv4 and IPv6."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port}


def processes_in(root: Path) -> list[str]:
    """What still runs with the directory in its command line, or works in it."""
    found = []
    for process, words in processes.commands().items():
        with suppress(OSError):
            if str(root) in words or Path(f"/proc/{process}/cwd").readlink().is_relative_to(root):
                found.append(f"{process}: {words}")
    return found
