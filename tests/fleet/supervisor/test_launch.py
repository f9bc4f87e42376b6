"""The launcher: what it gives to a replica's server, and when it does not start one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from contract.bundle import manifest
from fleet.isolation import seccomp
from fleet.isolation.sandbox import NONE, Sandbox
from fleet.supervisor import launch as launch_module
from fleet.supervisor import launcher
from harness import PROJECT
from harness.ports import free_ports
from tests.contract.conftest import write_bundle
from tests.fleet.conftest import listening

SHOW = "import os, sys, socket; print(os.environ['PYTHONPATH'], *[socket.socket(fileno=int(n)).getsockname() for n in sys.argv[2::2]])"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", "one")
    return tmp_path / "bundle"


ENVIRONMENT = os.environ | {"PYTHONPATH": str(PROJECT)}


def launched(bundle: Path, *addresses: str) -> list[str]:
    given = dict(address.split("=", 1) for address in addresses)
    serve, bare = [sys.executable, "-c", SHOW], Sandbox(NONE, 1, 1024)
    return launcher.command(bundle, manifest.digest_of(bundle), bare, given, serve, {}, python=sys.executable)


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def launch(bundle: Path, directory: Path, *addresses: str) -> subprocess.CompletedProcess[str]:
    return run(launched(bundle, *addresses), directory)


def test_server_gets_its_sockets_and_the_code_of_its_bundle(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.touch()  # of an earlier server
    os.utime(path, (0, 0))
    (port,) = free_ports(1)
    done = launch(bundle, tmp_path, f"--fd={path}", f"--admin-fd=127.0.0.1:{port}")
    assert done.stdout.strip() == f"{bundle / 'src'} {path} ('127.0.0.1', {port})", done.stderr


def earlier(bundle: Path, *addresses: str) -> list[str]:
    """Return the command with which an earlier version had supervisord start a replica, and still restart it."""
    words = [str(bundle), manifest.digest_of(bundle), str(Sandbox(NONE, 1, 1024)), *addresses]
    return [sys.executable, "-m", "fleet.supervisor.launch", *words, "--", sys.executable, "-c", SHOW]


def test_server_starts_when_supervisord_has_the_command_of_an_earlier_version(bundle: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = run(earlier(bundle, f"--fd={tmp_path / 's'}", f"--admin-fd=127.0.0.1:{port}"), tmp_path)
    assert done.stdout.strip() == f"{bundle / 'src'} {tmp_path / 's'} ('127.0.0.1', {port})", done.stderr


@pytest.mark.parametrize("network", ["open", "closed"])
def test_filter_of_a_command_that_only_names_the_network_is_made(network: str) -> None:
    assert launch_module._filter({"network": network}) == seccomp.program(network=network == "open")


def test_bundle_is_refused_when_supervisord_has_the_command_of_an_earlier_version(bundle: Path, tmp_path: Path) -> None:
    command = earlier(bundle)
    (bundle / "src" / "added.py").touch()
    done = run(command, tmp_path)
    assert (done.returncode, done.stdout) == (65, "")
    assert (tmp_path / "refused.txt").read_text() in done.stderr


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_reason_is_kept_and_a_restart_refused_when_the_log_of_the_replica_is_full(
    bundle: Path, tmp_path: Path, redirected: str
) -> None:
    command = launched(bundle)
    (bundle / "src" / "added.py").touch()
    done = run(["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", *command], tmp_path)
    assert (done.returncode, done.stdout) == (65, "")
    assert "src/added.py" in (tmp_path / "refused.txt").read_text()


def test_no_code_is_taken_from_the_directory_of_the_replica(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "fleet.py").write_text("raise SystemExit('of the replica')")
    done = run(launched(bundle), tmp_path)
    assert done.returncode == 0, done.stderr


def test_nobody_is_let_in_when_the_server_does_not_listen_yet(bundle: Path, tmp_path: Path) -> None:
    launch(bundle, tmp_path, f"--fd={tmp_path / 's'}")
    with socket.socket(socket.AF_UNIX) as caller, pytest.raises(ConnectionRefusedError):
        caller.connect(str(tmp_path / "s"))


def test_another_try_can_succeed_when_a_port_is_taken(bundle: Path, tmp_path: Path) -> None:
    with listening() as port:
        done = launch(bundle, tmp_path, f"--admin-fd=127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (75, "")
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_bundle_is_not_looked_at_again_within_the_second_when_it_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "src" / "added.py").touch()
    times = []
    for _ in range(2):
        assert launch(bundle, tmp_path).returncode == 65
        times.append((tmp_path / "refused.txt").stat().st_mtime)
    assert times[1] - times[0] >= 1


def test_launcher_imports_next_to_nothing() -> None:
    look = "import sys, fleet.supervisor.launch; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", look]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert not {"contract.errors", "dataclasses", "enum", "json", "pathlib", "re", "typing"} & {*done.stdout.split()}


@pytest.mark.parametrize("name", ["manifest.json", "src/model.onnx", "src/link"])
def test_bundle_is_refused_by_name_when_a_file_of_it_is_another(bundle: Path, tmp_path: Path, name: str) -> None:
    command = launched(bundle)
    if (bundle / name).exists():
        (bundle / name).write_bytes((bundle / name).read_bytes().replace(b"o", b"0"))
    else:
        (bundle / name).symlink_to("/etc/passwd")
    done = run(command, tmp_path)
    assert (done.returncode, done.stdout) == (65, "")
    assert (tmp_path / "refused.txt").read_text() in done.stderr
    assert name in done.stderr or "has the digest" in done.stderr
