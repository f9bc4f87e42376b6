"""A replica's sandbox as a whole: how it stops and dies, what is said where there is none, and the files that are handed over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract.bundle import manifest
from contract.errors import ConfigurationError
from fleet.configuration.settings import Settings
from fleet.isolation import enter, files, sandbox, seccomp
from fleet.isolation.sandbox import NAMESPACE, NONE, OTHER_USER, Sandbox
from fleet.supervisor import launcher, processes
from harness import PROJECT
from harness.waiting import until
from tests.contract.conftest import write_bundle
from tests.fleet.conftest import FleetCommand

SERVE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"drained\\n"), sys.exit(0)))
print("serving", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A server in a sandbox, in a process group of its own, as supervisord starts it."""
    wanted = Sandbox(NAMESPACE if os.geteuid() else OTHER_USER, 60998, 512)
    if missing := sandbox.missing(wanted):
        pytest.skip(missing)
    write_bundle(tmp_path / "bundle")
    files.make_readable(tmp_path / "bundle")
    bundle, serve = tmp_path / "bundle", [sys.executable, "-c", SERVE]
    command = launcher.command(bundle, manifest.digest_of(bundle), wanted, {}, serve, {}, python=sys.executable)
    variables = {"PYTHONPATH": str(PROJECT), processes.FLEET_MARK: str(tmp_path)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "serving\n"
        yield started
        started.kill()


def isolation(fleet: FleetCommand) -> dict[str, str]:
    found: dict[str, str] = json.loads(fleet.run("status").stdout)["isolation"]
    return found


def tree(server: subprocess.Popen[str], root: Path) -> list[int]:
    """The processes around a server, outermost first, and itself."""
    return sorted(processes.marked({processes.FLEET_MARK: str(root)}))


def test_server_drains_when_its_process_group_gets_sigterm(server: subprocess.Popen[str]) -> None:
    os.killpg(server.pid, signal.SIGTERM)
    assert server.communicate(timeout=60)[0] == "drained\n"
    assert server.returncode == 0


@pytest.mark.parametrize("piece", range(4), ids=["unshare", "bubblewrap", "first process", "server"])
def test_whole_tree_ends_when_any_piece_is_killed(server: subprocess.Popen[str], tmp_path: Path, piece: int) -> None:
    pieces = tree(server, tmp_path)
    assert len(pieces) == 4
    os.kill(pieces[piece], signal.SIGKILL)
    until(lambda: not processes.marked({processes.FLEET_MARK: str(tmp_path)}), "all to end")
    assert server.wait(60) != 0


def test_server_is_not_started_when_its_capabilities_cannot_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    libc, started = SimpleNamespace(prctl=lambda *_: 0, capset=lambda *_: -1), []
    monkeypatch.setattr(enter.ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(enter, "_run", lambda *command: started.append(command))
    with pytest.raises(SystemExit, match="cannot be dropped"):
        enter.main(0, ["-c", ""])
    assert not started


def test_start_is_refused_where_isolation_is_required_and_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings("store", tuple, tmp_path)
    with pytest.raises(ConfigurationError, match=r"not on the PATH.*nothing was changed"):
        sandbox.find("required", settings)
    found = sandbox.find("auto", settings)
    assert (found.kind, found.problem.count("\n")) == (NONE, 0)
    assert "not on the PATH" in found.problem
    assert "can read and change all that it can" in found.problem
    sandbox.save(found, tmp_path)
    assert sandbox.saved(tmp_path) == found


def test_problem_is_named_when_bubblewrap_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = sandbox.find("auto", Settings("store", tuple, tmp_path))
    assert "does not work here: bwrap: No permissions to create new namespace" in found.problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another identity")
def test_problem_is_named_where_root_is_the_only_user_of_its_namespace(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from fleet.isolation import sandbox; from fleet.configuration.settings import Settings; "
        "print(sandbox.find('auto', Settings('store', tuple, pathlib.Path(sys.argv[1]))).problem)"
    )
    alone = ["unshare", "--user", "--map-root-user"]
    if not shutil.which("bwrap") or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("bubblewrap is not installed, or there are no user namespaces")
    command = [*alone, sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "bubblewrap does not work here: not started: root cannot become user 60999 here" in done.stdout
    assert "; run the fleet as an ordinary user; replicas run as" in done.stdout


def test_long_message_of_bubblewrap_is_cut_between_words() -> None:
    said = sandbox.roots.problem_of([sys.executable, "-c", f"import sys; sys.exit({'word ' * 100!r})"])
    assert said == f"bubblewrap does not work here: {'word ' * 59}…"


def test_fleet_is_not_started_when_isolation_is_required_and_there_is_none(
    new_fleet: FleetCommand, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    done = new_fleet.run("up", "--require-isolation", PATH=str(programs))
    assert (done.returncode, "cannot be isolated" in done.stderr) == (78, True)
    assert not new_fleet.processes()
    assert not Settings.read(new_fleet.environment).declaration.exists()
    told = json.loads(new_fleet.run("up", PATH=str(programs)).stdout)
    assert told["isolation"]["kind"] == NONE
    assert "can read and change all that it can" in told["isolation"]["problem"]


@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
def test_replicas_are_isolated_and_replaced_when_isolation_is_declared_otherwise(fleet: FleetCommand) -> None:
    told = fleet.serve(fleet.bundles.first, size=1)
    if told["isolation"]["kind"] == NONE:
        pytest.skip(told["isolation"]["problem"])
    worker = max(fleet.pids(told["replicas"][0]["name"]))
    assert Path(f"/proc/{worker}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    path = Settings.read(fleet.environment).declaration
    declared = path.read_text()
    try:
        path.write_text(declared.replace("isolation: auto", "isolation: none"))
        until(lambda: isolation(fleet)["kind"] == NONE, "the reconciler to read it")
        until(lambda: fleet.run("status").returncode == 0, "bare replicas")
        bare = fleet("up")
        assert "switched off" in bare["isolation"]["problem"]
        worker = max(fleet.pids(bare["replicas"][0]["name"]))
        assert Path(f"/proc/{worker}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    finally:
        path.write_text(declared)
    until(lambda: isolation(fleet)["kind"] != NONE, "isolated replicas")


def test_replicas_read_copies_of_the_files_that_settings_name(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("a" * 40)
    keys.chmod(0o600)
    given = {"BULKHEAD_API_KEYS_FILE": str(keys), "BULKHEAD_CORS_ORIGINS": "https://a.example"}
    settings = Settings("store", tuple, tmp_path / "fleet", replica_uid=60998, passed_on=given)
    files.renew(settings)
    assert not (tmp_path / "fleet").exists()  # nothing was handed over yet
    changed = files.hand_over(given, settings)
    copy = Path(changed["BULKHEAD_API_KEYS_FILE"])
    assert copy != keys
    assert changed["BULKHEAD_CORS_ORIGINS"] == given["BULKHEAD_CORS_ORIGINS"]
    assert (copy.read_text(), stat.S_IMODE(copy.stat().st_mode)) == ("a" * 40, 0o640)
    keys.write_text("b" * 40)
    files.renew(settings)
    assert copy.read_text() == "b" * 40
    keys.write_text("short")
    with pytest.raises(ConfigurationError, match="not an API key"):
        files.renew(settings)
    assert copy.read_text() == "b" * 40


def test_tree_is_readable_for_all_and_executables_stay_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    for name, mode in (("data", 0o600), ("program", 0o700)):
        (tmp_path / "folder" / name).touch(mode=mode)
    (tmp_path / "link").symlink_to("nowhere")
    files.make_readable(tmp_path / "folder")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted((tmp_path / "folder").rglob("*"))]
    assert (modes, stat.S_IMODE((tmp_path / "folder").stat().st_mode)) == ([0o604, 0o705], 0o705)


def test_filter_has_another_program_for_each_architecture_and_none_for_unknown_ones() -> None:
    programs = {
        machine: seccomp.program(network=False, machine=machine) for machine in ("x86_64", "aarch64", "riscv64")
    }
    assert programs["riscv64"] == b""
    assert len({*programs.values()}) == 3
    assert len(seccomp.program(network=True)) < len(seccomp.program(network=False))
