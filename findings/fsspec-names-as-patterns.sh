#!/usr/bin/env bash
# fsspec 2026.9: `cat`, `get` and the memory file system's `rm` take a name with `[…]` for a pattern, though a file of that very name is there:
# "report[1].csv" brings, or deletes, report1.csv. `exists`, `open`, `cat_file` and `get_file` take it for a name. So say which one is meant:
# `…_file` for a name, `glob` for a pattern. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check fsspec==2026.9.0
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys
from pathlib import Path

import fsspec

table = {"report[1].csv": b"first", "report1.csv": b"another"}
folder, copies = Path(sys.argv[1], "tables"), Path(sys.argv[1], "copies")
folder.mkdir()
copies.mkdir()
for name, content in table.items():
    (folder / name).write_bytes(content)
local, memory = fsspec.filesystem("file"), fsspec.filesystem("memory")
name = str(folder / "report[1].csv")
local.get(name, f"{copies}/")
memory.pipe({f"/{each}": content for each, content in table.items()})
memory.rm("/report[1].csv")
found = {
    "exists": local.exists(name),
    "open": local.open(name).read(),
    "cat_file": local.cat_file(name),
    "cat": {Path(path).name: content for path, content in local.cat(name).items()},
    "get": {path.name: path.read_bytes() for path in copies.iterdir()},
    "left by rm": memory.ls("/", detail=False),
}
for call, result in found.items():
    print(f"{call}: {result}")
another = {"report1.csv": b"another"}
sys.exit(list(found.values()) != [True, b"first", b"first", another, another, ["/report[1].csv"]])
PYTHON
