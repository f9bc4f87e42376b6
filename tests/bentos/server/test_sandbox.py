"""A replica in bubblewrap: a read-only root, no network but its own loopback, a user without rights, and one tmpfs to write to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bentos.conftest import Case

LOOK = Path(__file__).with_name("sandbox_look.py")
SYSTEM = tuple(map(Path, ("/usr", "/bin", "/lib", "/lib64", "/etc")))
USER = "65534"


@pytest.fixture(scope="module")
def sandbox(bundle: Path) -> list[str]:
    """The command that locks away what follows it; skips where bubblewrap does not work."""
    if not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    tried = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"bubblewrap does not work here: {tried.stderr.decode()[-200:]}")
    command = ["bwrap", "--die-with-parent", "--unshare-all", "--new-session", "--uid", USER, "--gid", USER]
    command += ["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--size", str(16 << 20), "--tmpfs", "/tmp"]
    python = Path(sys.executable)
    for path in dict.fromkeys((*SYSTEM, python.resolve().parents[1], python.parents[1])):
        if path.exists():
            command += ["--ro-bind", str(path), str(path)]
    # The tmpfs is small, and all there is to write to.
    command += ["--ro-bind", str(bundle), "/bundle", "--chdir", "/tmp", "--remount-ro", "/", "--remount-ro", "/dev"]
    command += ["--clearenv"]
    for name, value in {"PATH": "/usr/bin:/bin", "BENTOML_HOME": "/tmp/home", "BENTOML_DO_NOT_TRACK": "true"}.items():
        command += ["--setenv", name, value]
    return command


@pytest.fixture(scope="module")
def found(sandbox: list[str]) -> dict[str, Any]:
    """What the server answered in there, and what it may do."""
    done = subprocess.run(
        [*sandbox, sys.executable, "-"], input=LOOK.read_bytes(), capture_output=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr[-4000:].decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_golden_answers_come_over_both_protocols_when_the_replica_is_locked_away(
    found: dict[str, Any], case: Case
) -> None:
    assert found["http"] == [[answer, case.version] for answer in case.answers]
    assert found["grpc"] == [[answer, case.version] for answer in case.answers]
    assert found["exit_code"] == 0


def test_replica_has_no_right_no_network_and_one_place_to_write(found: dict[str, Any]) -> None:
    assert (found["ids"], found["capabilities"], found["interfaces"]) == ([int(USER)], [0], ["lo"])
    assert found["writable"] == ["/tmp"]
    assert found["reached"] is False


def test_one_thread_predicts_when_requests_are_large(found: dict[str, Any]) -> None:
    assert found["predicting_threads"] == 1


def test_bundle_is_unchanged_when_it_was_served_read_only(found: dict[str, Any], case: Case) -> None:
    assert found["digest"] == case.version
