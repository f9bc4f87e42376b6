"""Run inside of a container: what its server may do there, and its answers to every golden request over both protocols."""

from __future__ import annotations

import json
import shutil
import sys
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, "/bundle/src")
from bentos.rehearsal import asking
from bentos.rehearsal.channel import GrpcChannel

ARTIFACT = Path("/bundle/src/bundle")
PLACES = ("/", "/bundle", "/bundle/src/bentos", "/opt/serving", "/etc", "/tmp")


def is_writable(directory: str) -> bool:
    try:
        Path(directory, "written").touch()
    except OSError:
        return False
    return True


def answers() -> dict[str, Any]:
    """By protocol, predictions with the version of the model that gave them."""
    rows = [case["row"] for case in json.loads((ARTIFACT / "golden.json").read_bytes())]
    schema = json.loads((ARTIFACT / "schema.json").read_bytes())
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    connection = HTTPConnection("127.0.0.1", 3000, timeout=10)
    with GrpcChannel("127.0.0.1:3001") as channel:
        return {
            "http": [asking.over_http(connection, row) for row in rows],
            "grpc": [asking.over_grpc(channel, row, schema) for row in known],
        }


server = dict(line.split(":", 1) for line in Path("/proc/1/status").read_text().splitlines())
found = {
    "ids": sorted({int(number) for key in ("Uid", "Gid") for number in server[key].split()}),
    "capabilities": sorted({int(server[key], 16) for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}),
    "writable": [place for place in PLACES if is_writable(place)],
    "interfaces": [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]],
    "tools": [
        *filter(shutil.which, ("pip", "pip3", "uv", "gcc", "cc", "make")),
        *filter(find_spec, ("pip", "ensurepip", "setuptools")),
    ],
}
print(json.dumps(found | answers()))
