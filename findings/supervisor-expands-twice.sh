#!/usr/bin/env bash
# supervisord expands the value of `stdout_logfile` twice and that of `directory` once: `%%` is a `%` in one of them and an error in the other.
# And it splits `[include] files` at spaces, without quotes. Relative paths avoid both.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check supervisor==4.3.0
"$directory/venv/bin/python" - "$directory" <<'PYTHON'
import importlib.metadata
import sys
from pathlib import Path

from supervisor.options import ServerOptions

root = Path(sys.argv[1], "at 100%")
root.mkdir()
written = str(root).replace("%", "%%")


def read(text):
    path = root / "supervisord.conf"
    path.write_text("[supervisord]\n" + text)
    options = ServerOptions()
    options.configfile = str(path)
    options.here = str(root)
    try:
        (group,) = options.read_config(str(path)).process_group_configs
        return Path(group.process_configs[0].directory) == root
    except ValueError as error:
        return "badly formatted" in str(error) and "refused"


program = f"[program:a]\ncommand = true\ndirectory = {written}\n"
found = {
    "directory": read(program),
    "stdout_logfile": read(f"{program}stdout_logfile = {written}/log\n"),
    "stdout_logfile, escaped twice": read(f"{program}stdout_logfile = {written.replace('%', '%%')}/log\n"),
}
print("supervisor", importlib.metadata.version("supervisor"), found)
assert found == {"directory": True, "stdout_logfile": "refused", "stdout_logfile, escaped twice": True}, "changed"
PYTHON
