"""What a killed command leaves in its scratch directory is removed by the next command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from harness import PROJECT
from pipelines.machine import scratch

KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.machine import scratch
with scratch.directory(Path(sys.argv[1])) as place:
    (place / "deliveries.csv").write_text("rows")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_command_left_is_removed_by_the_next_one_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "var" / "scratch"
    with scratch.directory(root) as first:
        assert first.stat().st_mode & 0o777 == 0o700
        command = [sys.executable, "-c", KILLED, str(root)]
        assert subprocess.run(command, cwd=PROJECT, check=False).returncode == -signal.SIGKILL
        assert len(list(root.iterdir())) == 2
        with scratch.directory(root) as second:
            assert set(root.iterdir()) == {first, second}
    assert list(root.iterdir()) == []
