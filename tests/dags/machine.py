"""What the real runs ask of the machine: ports that are free, processes that are left, time that passes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


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
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = (process / "cwd").readlink()
        except OSError:
            continue
        if str(root) in words or place.is_relative_to(root):
            found.append(f"{process.name}: {words}")
    return found


def wait_until(condition: Callable[[], bool], limit_s: float = 20) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()
