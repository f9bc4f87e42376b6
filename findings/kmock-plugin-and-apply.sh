#!/usr/bin/env bash
# kmock registers a plugin of pytest that imports pytest-asyncio, which is not among its dependencies: without it, every pytest of that
# environment stops at its start, also for tests that do not use kmock. `-p no:kmock` leaves the plugin out. Its emulated Kubernetes knows
# neither server-side apply (404 for an object that is not there yet) nor versions (a patch with an old resourceVersion is accepted).
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check kmock==0.8 pytest
cd "$directory"
echo 'def test_nothing(): pass' > test_nothing.py
plain=0; venv/bin/python -m pytest -q >/dev/null 2>&1 || plain=$?
without=0; venv/bin/python -m pytest -q -p no:kmock >/dev/null 2>&1 || without=$?
venv/bin/python - "$plain" "$without" <<'PYTHON'
import asyncio
import importlib.metadata
import sys

import aiohttp
import kmock


async def statuses():
    async with kmock.KubernetesEmulator() as cluster, kmock.Server(cluster) as server, aiohttp.ClientSession() as session:
        place = str(server.url).rstrip('/') + "/api/v1/namespaces/n/configmaps"
        apply = {"Content-Type": "application/apply-patch+yaml"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
        async with session.patch(f"{place}/c?fieldManager=m", json=body, headers=apply) as answer:
            applied = answer.status
        async with session.post(place, json=body) as answer:
            assert answer.status == 200
        old = {"metadata": {"resourceVersion": "old"}, "data": {"a": "b"}}
        async with session.patch(f"{place}/c", json=old) as answer:
            return applied, answer.status


found = {"pytest fails": sys.argv[1] != "0", "without the plugin": int(sys.argv[2]), "apply, old version": asyncio.run(statuses())}
print("kmock", importlib.metadata.version("kmock"), found)
assert found == {"pytest fails": True, "without the plugin": 0, "apply, old version": (404, 200)}, "changed"
PYTHON
