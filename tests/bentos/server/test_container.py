"""The image of a bundle, built by podman and run as docs/how-to/containers.md says: no root, no capability, no network, one place to write.

Skipped where podman cannot run a container. Takes a minute, most of it pip's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import PROJECT
from tests.bentos.conftest import Case
from tests.bentos.server import base_image

UV = PROJECT / ".venv" / "uv"
BASE, IMAGE = "localhost/base", "localhost/served"
LOCKED = ["--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", "--cap-drop", "all", "--network", "none"]
LOCKED += ["--security-opt", "no-new-privileges", "--memory", "512m"]
LIMITS = [
    "--ulimit",
    "nofile=4096:4096",
    "--ulimit",
    "nproc=4096:4096",
]  # else podman asks for more than it may have here
WHEELS_ALONE = "[global]\nno-index = true\nfind-links = /wheels\n"


class Podman:
    """podman with a store of its own."""

    def __init__(self, directory: Path, runtime: str) -> None:
        store = ["--root", directory / "store", "--runroot", directory / "run"]
        self._command = ["podman", *store, "--cgroup-manager", "cgroupfs", "--runtime", runtime]

    def __call__(self, *arguments: str | Path, stdin: str = "") -> str:
        """What it prints; fails the test if it fails."""
        done = self.tried(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout.strip()

    def tried(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """One that holds a base image and can run it; skips where there is none."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    scratch = tmp_path_factory.mktemp("podman")
    (scratch / "base").mkdir()
    base_image.write(scratch / "base", next(UV.glob("lib/python3*/site-packages/pip")))
    try:
        for runtime in filter(shutil.which, ("runc", "crun")):
            podman = Podman(scratch, runtime)
            podman("build", "--quiet", "--tag", BASE, scratch / "base")
            tried = podman.tried("run", "--rm", *LIMITS, *LOCKED, BASE, "python3", "-c", "")
            if tried.returncode == 0:
                yield podman
                podman("rm", "--all", "--force")
                podman("rmi", "--all", "--force")
                return
    finally:  # podman mounts its store on itself, and leaves it so
        subprocess.run(["umount", scratch / "store" / "overlay"], capture_output=True, check=False)
    pytest.skip("podman has no runtime that can run a container here")


@pytest.fixture(scope="module")
def image(podman: Podman, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built without a network, from wheels that lie on the machine."""
    scratch = tmp_path_factory.mktemp("image")
    download = [UV / "bin" / "pip", "download", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    lock = bundle / "src" / "requirements.txt"
    subprocess.run([*download, "--dest", scratch / "wheels", "--requirement", lock], check=True, capture_output=True)
    (scratch / "pip.conf").write_text(WHEELS_ALONE)
    podman(
        *("build", "--quiet", "--format", "docker", "--network", "none", "--build-arg", f"BASE={BASE}"),
        *("--volume", f"{scratch}/wheels:/wheels:ro", "--secret", f"id=pip,src={scratch}/pip.conf", "--tag", IMAGE),
        *("--file", bundle / "src" / "bentos" / "Containerfile", bundle),
    )
    return IMAGE


def test_container_answers_locked_away_and_ends_on_sigterm(podman: Podman, image: str, case: Case) -> None:
    name = podman("run", "--detach", *LIMITS, *LOCKED, image)
    deadline = time.monotonic() + 60
    while podman.tried("healthcheck", "run", name).returncode:
        assert time.monotonic() < deadline, podman.tried("logs", name)
        time.sleep(0.5)
    look = (Path(__file__).parent / "container_look.py").read_text()
    found = json.loads(podman("exec", "--interactive", name, "/opt/serving/bin/python", "-", stdin=look))
    assert found["http"] == [[answer, case.version] for answer in case.answers]
    assert found["grpc"] == [[answer, case.version] for answer in case.answers]
    assert (found["ids"], found["capabilities"]) == ([65532], [0])
    assert (found["writable"], found["interfaces"], found["tools"]) == (["/tmp"], ["lo"], [])
    podman("stop", "--time", "30", name)
    assert podman("inspect", name, "--format", "{{.State.ExitCode}}") == "0"  # 137 if it had to be killed
