#!/usr/bin/env bash
# A process that sets a long title with setproctitle keeps its environment, as its children do, but /proc/PID/environ no longer shows it:
# the title is written over that memory. Whoever finds processes by a mark in their environment misses it. SPT_NOENV=1 prevents that.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check setproctitle==1.3.8
"$directory/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

TITLED = """
import os, setproctitle, sys
setproctitle.setproctitle("worker: " + "x" * 4000)
print(os.environ["MARK"], flush=True)
sys.stdin.read()
"""


def shown(**more):
    environment = os.environ | {"MARK": "here"} | more
    command = [sys.executable, "-c", TITLED]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "here"  # the process itself still has it
        found = b"MARK=here" in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        process.stdin.close()
        return found


found = {"by default": shown(), "with SPT_NOENV": shown(SPT_NOENV="1")}
print("setproctitle", importlib.metadata.version("setproctitle"), "MARK in /proc/PID/environ:", found)
assert found == {"by default": False, "with SPT_NOENV": True}, "changed"
PYTHON
