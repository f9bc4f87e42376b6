"""The drills of a fleet's own copies: code, environments and keys change while the fleet serves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

from contract.bundle import signature
from contract.errors import EXIT_DATA
from contract.store.store import Store
from drills.fleet.fleets import DrilledFleet, another
from drills.fleet.injections import counted, kill_and_wait, under_load
from drills.results import Result
from harness.projects import TRAINING, both_planes, fleet_project, take_away

_KILLS = 10


def code_changed(one: DrilledFleet) -> list[Result]:
    """Change the live bundle's code in the store, and kill replicas: they restart with the deployed code."""
    one.serve(2)
    names = [each["name"] for each in one("status")["replicas"]]
    path = one.store / "bundles" / one.first / "src" / "bentos" / "core.py"
    path.chmod(0o600)
    path.write_text(path.read_text() + "\nraise SystemExit('the changed code ran')\n")
    with under_load(one, one.first) as found:
        for turn in range(_KILLS):
            kill_and_wait(one, names[turn % len(names)])
            time.sleep(1)
    return [counted(39, "code changed in the store", f"changed, and {_KILLS} replicas killed", found)]


def environment_replaced(one: DrilledFleet) -> list[Result]:
    """Replace the environment that replicas were started from; they restart, scale and roll back."""
    project = fleet_project(one.scratch / "project")
    own = replace(one, python=project / ".venv" / "fleet" / "bin" / "python")
    own.serve(1)
    own("deploy", own.second)
    (project / "requirements" / "serving.txt").write_text("# of another bundle\n")
    with under_load(own, own.first, own.second) as found:
        make = ["make", ".venv/serving/installed.txt", f"PYTHON={sys.executable}"]
        subprocess.run(make, cwd=project, check=True, capture_output=True, env=os.environ | {"UV_OFFLINE": "1"})
        for each in own("scale", "3")["replicas"]:
            kill_and_wait(own, each["name"])
        own("rollback")
        for each in own("status")["replicas"]:
            kill_and_wait(own, each["name"])
    return [
        counted(40, "environment replaced", "by one of another lock; scaled, rolled back, each replica killed", found)
    ]


def training_plane_gone(one: DrilledFleet) -> list[Result]:
    """Move training's code, environments, data and state away; replicas are killed, and the fleet scales, deploys and rolls back."""
    project = both_planes(one.scratch / "project")
    own = replace(one, project=project, python=project / ".venv" / "fleet" / "bin" / "python")
    own.serve(2)
    with under_load(own, own.first, own.second) as found:
        taken = without_training(own)
    return [counted(34, "training plane gone", f"{len(taken)} of its places moved away, then every command", found)]


def without_training(one: DrilledFleet) -> list[str]:
    """Take training away from the project of a fleet that serves, and use every command; return what was taken."""
    taken = take_away(one.project, TRAINING, one.scratch / "away")
    for each in one("status")["replicas"]:
        kill_and_wait(one, each["name"])
    one("scale", "3")
    one("deploy", one.second, "--canary", "10")
    one("promote")
    one("rollback")
    for each in one("scale", "1")["replicas"]:
        kill_and_wait(one, each["name"])
    return taken


def key_rotated(one: DrilledFleet) -> list[Result]:
    """Deploy a bundle signed with a new key beside the old key, and roll back; then serve it without the old key."""
    keys = one.scratch / "keys"
    keys.mkdir()
    (keys / "old.pem").write_text(one.public_key)
    own = replace(one, public_key=str(keys))
    own.serve(2)
    key = signature.make_key()
    store = Store(str(one.store), private_key=key)
    new = store.put(another(one.bundle, one.scratch / "new", rows=2))
    with under_load(own, own.first, new) as found:
        refused, _ = own.run("deploy", new)
        (keys / "new.pem").write_bytes(signature.public_key_of(key))
        own("deploy", new)
        own("rollback")
        own("scale", "3")
        own("deploy", new)
        (keys / "old.pem").unlink()
        for each in own("scale", "2")["replicas"]:
            kill_and_wait(own, each["name"])
    return [
        counted(
            41, "signing key rotated", "deployed, rolled back, scaled; the old key removed, each replica killed", found
        ),
        Result(41, "unknown key", "deploy", 1, int(refused != EXIT_DATA), f"refused: {refused}", refused == EXIT_DATA),
    ]
