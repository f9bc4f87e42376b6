"""What can be done from inside a replica's sandbox: nothing of a shell's worth of attempts, each of which succeeds without it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import manifest
from fleet.configuration.settings import Settings
from fleet.isolation import files, sandbox
from fleet.isolation.sandbox import NAMESPACE, NONE, OTHER_USER, Sandbox
from fleet.supervisor import launcher
from harness import PROJECT
from harness.ports import free_ports
from tests.contract.conftest import write_bundle

ATTEMPTS = Path(__file__).with_name("attempts.py")
USER = 60998  # other than the default, which fleets on this machine may have
MEMORY_MB = 512
# Depend on the machine around the test, so that their success without a sandbox shows nothing.
NOT_SHOWN = {
    "reach another machine", "reach the metadata service", "reach it over UDP", "resolve a name by the machine's resolver",
    "connect to this machine's other address", "find the interfaces", "call io_uring_setup", "call userfaultfd",
    "call bpf", "call keyctl", "open sysrq-trigger for writing", "raise the limit of open files",
}  # fmt: skip
KINDS = [NAMESPACE, OTHER_USER]
LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")


@dataclass
class Place:
    """A bundle, what a fleet and its training keep beside it, and something to reach of each kind."""

    bundle: Path
    settings: Settings
    given: dict[str, Any]

    def run(self, kind: str, script: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Launch a script as a replica."""
        python = sys.executable
        (port,) = free_ports(1)
        addresses = {"--admin-fd": f"127.0.0.1:{port}", "--fd": str(self.bundle.parent / "s")}
        serve = [python, "-c", script or ATTEMPTS.read_text(), json.dumps(self.given)]
        environment = (
            os.environ | files.hand_over(self.settings.passed_on, self.settings) if kind != NONE else dict(os.environ)
        )
        environment |= {"PYTHONPATH": str(PROJECT), "AWS_SECRET_ACCESS_KEY": "not for replicas"} | variables
        digest, wanted = manifest.digest_of(self.bundle), Sandbox(kind, USER, MEMORY_MB)
        command = launcher.command(self.bundle, digest, wanted, addresses, serve, environment, python=python)
        return subprocess.run(
            command, cwd=self.bundle.parent, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def found(self, kind: str) -> dict[str, Any]:
        """What the attempts came to."""
        done = self.run(kind)
        assert done.returncode == 0, done.stderr[-3000:]
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("plane")
    secrets = {}
    for name in (
        "data/2026-01.parquet", ".dvc/cache/files/md5/ab/cd", "keys/signing.pem", "airflow/airflow.db", "store/channels/live.json",
        "fleet/envoy/rds-http.json", "fleet/programs/replica.conf", "fleet/state.json", "fleet/supervisord.conf",
    ):  # fmt: skip
        secrets[name] = str(root / name)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret")
    for name in (
        "params.yaml",
        "pipelines/paths.py",
        "fleet/control/fleet.py",
        "dags/__init__.py",
        "contract/errors.py",
    ):
        if (PROJECT / name).exists():
            secrets[name] = str(PROJECT / name)
    secrets |= {"/etc/passwd": "/etc/passwd", "/etc/hostname": "/etc/hostname"}
    write_bundle(root / "fleet" / "bundles" / "toy")
    (root / "keys.txt").write_text("k" * 40)
    (root / "log").mkdir()
    (root / "shadow").mkdir()
    passed_on = {
        "BULKHEAD_API_KEYS_FILE": str(root / "keys.txt"),
        "BULKHEAD_PREDICTION_LOG": str(root / "log"),
        "BULKHEAD_SHADOW_LOG": str(root / "shadow"),
    }
    settings = Settings("store", tuple, root / "fleet", replica_uid=USER, passed_on=passed_on)
    bundle = root / "fleet" / "bundles" / "toy"
    files.make_readable(bundle)
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        for address in ("\0bulkhead-test-" + root.name + str(os.getpid()), str(root / "fleet" / "supervisor.sock")):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(address)
            unix.listen()
        other = stack.enter_context(subprocess.Popen(["sleep", "1000"]))
        stack.callback(other.kill)
        key = 0x42000000 + os.getpid()
        libc = ctypes.CDLL(None, use_errno=True)
        segment = libc.shmget(key, 4096, 0o1600)
        assert segment >= 0
        stack.callback(libc.shmctl, segment, 0, None)
        yield Place(
            bundle,
            settings,
            {
                "secrets": secrets,
                "directories": ["/", "/usr/lib", "/dev", "/etc", str(bundle), str(bundle / "src"), str(root / "fleet"), sys.prefix],
                "pid": other.pid,
                "port": server.getsockname()[1],
                "address": _own_address(),
                "abstract": "bulkhead-test-" + root.name + str(os.getpid()),
                "unix": str(root / "fleet" / "supervisor.sock"),
                "key": key,
                "environment": [
                    "HOME", "TMPDIR", "PYTHONPATH", "PWD", "LANG", "LC_ALL", "TZ", "LC_CTYPE", "PYTHONDONTWRITEBYTECODE",
                    "BULKHEAD_API_KEYS_FILE", "BULKHEAD_PREDICTION_LOG", "BULKHEAD_SHADOW_LOG",
                    *(name for name in os.environ if name.startswith(("OPENBLAS_NUM", "OTEL_"))),
                ],
            },
        )  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each sandbox that this user can make; skips where bubblewrap does not work."""
    if request.param == OTHER_USER and os.geteuid():
        pytest.skip("only root can take another identity")
    if not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    missing = sandbox.missing(Sandbox(request.param, USER, MEMORY_MB))
    if missing:
        pytest.skip(missing)
    return str(request.param)


@pytest.fixture(scope="module")
def found(place: Place, kind: str) -> dict[str, Any]:
    return place.found(kind)


def test_no_attempt_succeeds_inside(found: dict[str, Any]) -> None:
    assert len(found["outcomes"]) > 60
    assert {name: outcome for name, outcome in found["outcomes"].items() if outcome is not None} == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user can do less without a sandbox, too")
def test_each_attempt_succeeds_without_a_sandbox(place: Place) -> None:
    outcomes = place.found(NONE)["outcomes"]
    assert {name for name, outcome in outcomes.items() if outcome is None} - NOT_SHOWN == set()


def test_replica_is_another_user_without_any_right(found: dict[str, Any]) -> None:
    status = found["status"]
    assert {*status["Uid"], *status["Gid"]} == {str(USER)}
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    assert {name: status[name] for name in status if name.startswith("Cap") and int(status[name][0], 16)} == {}
    assert found["signals"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another identity")
def test_other_user_is_one_of_the_machine(place: Place) -> None:
    if sandbox.missing(Sandbox(OTHER_USER, USER, MEMORY_MB)):
        pytest.skip("bubblewrap does not work here")
    script = "import os; open(os.environ['BULKHEAD_PREDICTION_LOG'] + '/written', 'w')"
    assert place.run(OTHER_USER, script).returncode == 0
    written = Path(place.settings.passed_on["BULKHEAD_PREDICTION_LOG"], "written")
    assert written.stat().st_uid == USER
    written.unlink()


def test_docs_list_what_a_replica_sees_and_can_write(found: dict[str, Any], place: Place) -> None:
    text = (PROJECT / "docs" / "explanation" / "security.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (yes|no) \|", text.partition("## What a replica sees")[2], re.MULTILINE)
    documented = {name.replace("`", ""): writable == "yes" for name, writable in rows}
    python = Path(sys.executable).resolve()
    names = {
        str(place.bundle): "the bundle",
        str(Path(sys.executable).parents[1]): "its environment",
        str(python if python.parents[1] == Path("/usr") else python.parents[1]): "its Python",
        str(place.settings.root / "given"): "the files that settings name",
        place.settings.passed_on["BULKHEAD_PREDICTION_LOG"]: "the prediction log",
        place.settings.passed_on["BULKHEAD_SHADOW_LOG"]: "the shadow log",
        **dict.fromkeys(("/lib", "/lib64", "/usr/lib64"), "/usr/lib"),
        **dict.fromkeys(("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"), "/proc"),
    }
    seen: dict[str, bool] = {}
    for path, options in found["mounts"].items():
        name = names.get(path, path)
        seen[name] = seen.get(name, False) or "rw" in options.split(",")
    assert seen.items() <= documented.items()
    assert documented.keys() - seen.keys() <= {"/etc/localtime", str(LARGE_PAGES)}


def test_nothing_of_the_bundle_runs_before_the_identity_is_taken(place: Place, kind: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "src").mkdir(parents=True)
    for name in ("ctypes", "runpy", "signal", "site"):
        (bundle / "src" / f"{name}.py").write_text("raise SystemExit(7)")
    (bundle / "src" / "of_the_bundle.py").touch()
    write_bundle(bundle)
    files.make_readable(bundle)
    # What bundle and environment have is there for the server.
    done = replace(place, bundle=bundle).run(kind, "import of_the_bundle, supervisor, os; print(os.getuid())")
    assert (done.stdout, done.returncode) == (f"{USER}\n", 0), done.stderr


def test_secrets_of_settings_are_in_no_command_line(place: Place, kind: str) -> None:
    script = (
        "print(open('/proc/1/cmdline').read())" if kind == NAMESPACE else "print(open('/proc/self/cmdline').read())"
    )
    done = place.run(kind, script, OTEL_EXPORTER_OTLP_HEADERS="authorization=hidden")
    assert done.returncode == 0, done.stderr
    assert "hidden" not in done.stdout


def test_replica_gets_no_more_memory_than_its_limit(place: Place, kind: str) -> None:
    script = f"""
try:
    bytearray({MEMORY_MB} << 20)
except MemoryError:
    print("refused", len(bytearray({MEMORY_MB} // 2 << 20)) >> 20)
"""
    assert place.run(kind, script).stdout.split() == ["refused", str(MEMORY_MB // 2)]


def test_heap_gets_large_pages_where_the_kernel_has_them(place: Place, kind: str) -> None:
    enabled = LARGE_PAGES / "enabled"
    if not enabled.exists() or "[madvise]" not in enabled.read_text():
        pytest.skip("the kernel gives large pages to nobody, or to all")
    script = """
held = [bytes(100_000) for _ in range(100)]
print(any(" hg" in line for line in open("/proc/self/smaps") if line.startswith("VmFlags")))
"""
    done = place.run(kind, script, GLIBC_TUNABLES="glibc.malloc.hugetlb=1")
    assert done.stdout == "True\n", done.stderr


def test_replica_reaches_a_collector_when_traces_are_sent(place: Place, kind: str) -> None:
    port = place.given["port"]
    script = f"import socket; socket.create_connection(('127.0.0.1', {port})).close(); print('connected')"
    assert place.run(kind, script).returncode != 0
    done = place.run(kind, script, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    assert done.stdout == "connected\n", done.stderr


def _own_address() -> str:
    """An address of this machine other than 127.0.0.1, if it has one; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])
