"""Training's cgroup: the files of v1 and v2 in a directory that stands for their file system, and the real ones of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.environment import cgroups as own_cgroups
from contract.environment.cgroups import Place, places, reason
from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from harness import PROJECT
from harness.waiting import until
from pipelines.machine import cgroups, contained
from pipelines.machine.cgroups import IDLE, NAME, Limits

MB = 1_000_000
LEAF = str(os.getpid())


def machine(root: Path, own: str, mounts: list[str]) -> Path:
    """Make the files of a process in /proc: its cgroups, and the mounts below `root`."""
    process = root / "proc"
    process.mkdir()
    (process / "cgroup").write_text(own)
    lines = [f"30 25 0:26 {mount.format(root=root)}" for mount in mounts]
    (process / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return process


V1 = [
    "/ {root}/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
    "/ {root}/memory rw - cgroup cgroup rw,memory",
]
V2 = ["/ {root}/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"]


def v2(root: Path, *, controllers: str = "cpuset cpu io memory pids") -> Path:
    """Make the files of a session below a slice, and of training's cgroup, as the kernel would."""
    slice_ = root / "unified" / "user.slice"
    (slice_ / NAME).mkdir(parents=True)
    (slice_ / "session-1.scope").mkdir()
    (slice_ / "cgroup.controllers").write_text(controllers)
    for directory in (slice_, slice_ / NAME):
        (directory / "cgroup.subtree_control").write_text("")
        (directory / "cgroup.procs").write_text("")
    (slice_ / NAME / "cpu.idle").write_text("0")
    return machine(root, "0::/user.slice/session-1.scope\n", V2)


def test_v1_cgroup_lies_below_the_own_one_of_each_controller(tmp_path: Path) -> None:
    process = machine(tmp_path, "4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n1:name=systemd:/\n0::/\n", [*V1, *V2])
    assert places(process) == {
        "cpu": Place(1, tmp_path / "cpu,cpuacct" / "docker" / "a"),
        "memory": Place(1, tmp_path / "memory" / "docker" / "a"),
    }


def test_v1_mount_may_show_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    mounts = [mount.replace("/ {root}", "/docker/a {root}") for mount in V1]
    process = machine(tmp_path, "4:memory:/docker/a\n2:cpu,cpuacct:/docker/b\n", mounts)
    assert places(process) == {"memory": Place(1, tmp_path / "memory")}


@pytest.mark.parametrize(
    ("weight", "shares", "idle"), [(IDLE, None, "1"), (1, "10", "0"), (100, "1024", "0"), (10_000, "102400", "0")]
)
def test_v1_gets_shares_and_a_limit(tmp_path: Path, weight: int, shares: str | None, idle: str) -> None:
    process = machine(tmp_path, "4:memory:/\n2:cpu,cpuacct:/\n", V1)
    cpu, memory = tmp_path / "cpu,cpuacct" / NAME, tmp_path / "memory" / NAME
    cpu.mkdir(parents=True)
    memory.mkdir(parents=True)
    (cpu / "cpu.idle").write_text("0")
    made = cgroups.make(Limits(weight, 300 * MB), LEAF, process)
    assert made.missing == {}
    assert made.leaves == (cpu / LEAF, memory / LEAF)
    assert (cpu / "cpu.idle").read_text() == idle
    assert ((cpu / "cpu.shares").read_text() if shares else None) == shares
    assert (memory / "memory.limit_in_bytes").read_text() == str(300 * MB)
    made.join(42)
    assert (cpu / LEAF / "cgroup.procs").read_text() == "42"


def test_v1_without_idle_cgroups_gets_the_least_shares(tmp_path: Path) -> None:
    process = machine(tmp_path, "2:cpu,cpuacct:/\n", V1)
    (tmp_path / "cpu,cpuacct").mkdir()
    made = cgroups.make(Limits(IDLE, None), LEAF, process)
    assert made.missing == {}
    assert (tmp_path / "cpu,cpuacct" / NAME / "cpu.shares").read_text() == "2"


def test_v2_cgroup_lies_beside_the_own_one_and_has_both_limits(tmp_path: Path) -> None:
    process = v2(tmp_path)
    common = tmp_path / "unified" / "user.slice" / NAME
    made = cgroups.make(Limits(7, 300 * MB), LEAF, process)
    assert made.missing == {}
    assert made.leaves == (common / LEAF,)
    found = {name: (common / name).read_text() for name in ("cpu.idle", "cpu.weight", "memory.max", "memory.swap.max")}
    assert found == {"cpu.idle": "0", "cpu.weight": "7", "memory.max": str(300 * MB), "memory.swap.max": "0"}
    assert "+memory" in (common / "cgroup.subtree_control").read_text()


def test_v2_says_which_controller_is_missing(tmp_path: Path) -> None:
    made = cgroups.make(Limits(IDLE, 300 * MB), LEAF, v2(tmp_path, controllers="memory pids"))
    assert len(made.leaves) == 1
    assert made.missing == {"cpu": "no cgroup file system with the controller cpu"}


def test_v2_says_that_no_cgroup_below_one_with_processes_can_be_limited(tmp_path: Path) -> None:
    process = v2(tmp_path)
    place = tmp_path / "unified" / "user.slice"
    (place / "cgroup.type").write_text("domain\n")
    (place / "cgroup.procs").write_text("1\n")
    made = cgroups.make(Limits(IDLE, 300 * MB), LEAF, process)
    assert made.leaves == ()
    why = f"{place}: it has processes of its own, as a container's has, so that none below it can be limited"
    assert made.missing == dict.fromkeys(("cpu", "memory"), why)
    assert (place / "cgroup.subtree_control").read_text() == ""


@pytest.mark.parametrize(
    ("version", "uid", "program", "advice"),
    [
        (2, 1000, True, True),
        (2, 0, True, False),
        (1, 1000, True, False),
        (2, 1001, True, False),
        (2, 1000, False, False),
    ],
)
def test_ordinary_user_is_told_what_gives_them_a_cgroup_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, uid: int, program: bool, advice: bool
) -> None:
    for user in (0, 1000):
        (tmp_path / str(user)).mkdir()
    monkeypatch.setattr(own_cgroups, "_SESSIONS", tmp_path)
    monkeypatch.setattr(own_cgroups.shutil, "which", lambda name: f"/usr/bin/{name}" if program else None)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    said = reason(Place(version, Path("/a")), PermissionError(13, "Permission denied"))
    assert said == "/a: Permission denied" + "; start it by `systemd-run --user --scope`" * advice


def test_a_reason_that_both_limits_have_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = cgroups.Membership((), {"cpu": "/a: no", "memory": "/a: no"})
    monkeypatch.setattr(cgroups, "make", lambda *_: lacking)
    monkeypatch.setattr(cgroups, "is_inside", lambda: False)
    monkeypatch.setenv(contained.WEIGHT, "idle")
    contained.enter("train")
    expected = (
        "train: training has an equal share of the CPU and no memory limit beside a fleet on this machine (/a: no)\n"
    )
    assert capsys.readouterr().err == expected


def test_nothing_is_made_where_there_is_no_cgroup_file_system(tmp_path: Path) -> None:
    made = cgroups.make(Limits(IDLE, MB), LEAF, tmp_path)
    assert made.leaves == ()
    assert set(made.missing) == {"cpu", "memory"}


def test_reason_is_given_where_a_cgroup_cannot_be_made(tmp_path: Path) -> None:
    process = machine(tmp_path, "2:cpu,cpuacct:/\n", V1)
    (tmp_path / "cpu,cpuacct").write_text("not a directory")
    made = cgroups.make(Limits(IDLE, None), LEAF, process)
    assert made.leaves == ()
    assert made.missing == {"cpu": f"{tmp_path}/cpu,cpuacct: Not a directory"}


@pytest.mark.parametrize("file", ["memory.oom_control", "memory.events"])
def test_kills_at_the_limit_are_read_from_the_kernels_count(tmp_path: Path, file: str) -> None:
    own = cgroups.Membership((tmp_path,), {})
    assert not own.killed_for_memory()
    (tmp_path / file).write_text("under_oom 0\noom 3\noom_kill 0\n")
    assert not own.killed_for_memory()
    (tmp_path / file).write_text("under_oom 0\noom 3\noom_kill 1\n")
    assert own.killed_for_memory()


def test_limits_are_read_from_the_environment() -> None:
    assert contained.limits_of({}).weight == IDLE
    assert (contained.limits_of({}).memory_bytes or 0) > 100 * MB
    assert contained.limits_of({contained.WEIGHT: "none", contained.MEMORY: "none"}) == Limits(None, None)
    assert contained.limits_of({contained.WEIGHT: "5", contained.MEMORY: "2000"}) == Limits(5, 2000 * MB)


@pytest.mark.parametrize("setting", [(contained.WEIGHT, "0"), (contained.WEIGHT, "10001"), (contained.MEMORY, "2GB")])
def test_wrong_limit_is_refused_with_what_is_allowed(setting: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{setting[0]} is '{setting[1]}'; allowed are none.* whole numbers"):
        contained.limits_of(dict([setting]))


def test_mount_point_may_have_a_name_outside_utf_8(tmp_path: Path) -> None:
    process = machine(tmp_path, "2:cpu,cpuacct:/a\n", V1)
    with (process / "mountinfo").open("ab") as mounts:
        mounts.write(b"31 25 8:1 / /media/B\xfccher rw - vfat /dev/sdb1 rw,iocharset=iso8859-1\n")
    assert cgroups.places(process) == {"cpu": Place(1, tmp_path / "cpu,cpuacct" / "a")}


@pytest.mark.parametrize("command", ["train", "monitor"])
def test_stages_are_contained_however_they_are_started(tmp_path: Path, command: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), contained.MEMORY: "much"}
    line = [sys.executable, "-m", "pipelines", command]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_CONFIGURATION
    assert done.stderr.startswith(f"{command} stopped: {contained.MEMORY} is 'much'")


# ── on this machine's own cgroups ──

STAGE = """
import os, signal, subprocess, sys
from pathlib import Path
from pipelines.machine import cgroups, contained
cgroups.NAME = "{name}"
contained.LOOK_S = {look_s}
contained.enter("train")
{work}
"""


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Require that this machine lets us make both cgroups; other training on it has other ones."""
    monkeypatch.setattr(cgroups, "NAME", f"{NAME}-test-{LEAF}")
    made = cgroups.make(Limits(IDLE, 1000 * MB), LEAF)
    made.remove()
    if made.missing:
        pytest.skip("; ".join(made.missing.values()))
    yield
    until(_nothing_is_left, "training's cgroups to be removed")


def _nothing_is_left() -> bool:
    """Remove what a killed guard left, once its stage has ended, as the next stage does."""
    made = cgroups.make(Limits(IDLE, 1000 * MB), LEAF)
    made.remove()
    return not [leaf for leaf in made.leaves if leaf.parent.exists()]


def run(work: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), contained.WEIGHT: "idle"} | settings
    command = [sys.executable, "-c", STAGE.format(work=work, name=cgroups.NAME, look_s=contained.LOOK_S)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_stage_and_its_children_are_in_the_cgroup_that_is_removed_at_their_end(limited: None) -> None:
    done = run(
        'print(Path("/proc/self/cgroup").read_text()); subprocess.run(["cat", "/proc/self/cgroup"]); sys.exit(3)'
    )
    assert (done.returncode, done.stderr) == (3, "")
    lines = [line for line in done.stdout.splitlines() if f"/{cgroups.NAME}/" in line]
    assert len(lines) in (2, 4)  # of a process and its child: one hierarchy of v2, or two of v1
    left = {place.directory / cgroups.NAME / lines[0].rpartition("/")[2] for place in places().values()}
    assert not [place for place in left if place.exists()]


def test_stage_is_as_idle_as_the_kernel_can_make_it(limited: None) -> None:
    where = places()["cpu"].directory / cgroups.NAME
    done = run(
        f'print([p.read_text().strip() for n in ("cpu.idle", "cpu.shares") if (p := Path("{where}", n)).exists()][0])'
    )
    assert done.stdout.strip() in ("1", "2")


def test_stage_that_needs_more_memory_than_allowed_ends_with_a_message(limited: None) -> None:
    done = run('print("begun", flush=True); bytearray(400_000_000)', BULKHEAD_TRAINING_MEMORY_MB="200")
    assert (done.returncode, done.stdout) == (EXIT_CONFIGURATION, "begun\n")
    assert done.stderr.startswith("train stopped: out of memory: all training on this machine may have 200 MB; raise")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [9, 15])
def test_guard_ends_by_the_signal_that_ended_the_stage(limited: None, number: int) -> None:
    done = run(f"os.kill(os.getpid(), {number})")
    assert (done.returncode, done.stderr) == (-number, "")


def test_stage_gets_the_guards_sigterm(limited: None) -> None:
    done = run(
        "signal.signal(15, lambda *_: sys.exit(7)); print(1, flush=True); os.kill(os.getppid(), 15); signal.pause()"
    )
    assert done.returncode == 7


def test_stage_ends_with_a_killed_guard(limited: None) -> None:
    # The pipe ends when the last process that could write to it has: the stage is gone, not only its guard.
    done = run("print(1, flush=True); os.kill(os.getppid(), 9); signal.pause()")
    assert (done.returncode, done.stdout) == (-9, "1\n")


def test_stage_works_where_it_is_when_no_limit_is_wanted() -> None:
    done = run(
        'print(Path("/proc/self/cgroup").read_text() == Path(f"/proc/{os.getppid()}/cgroup").read_text())',
        BULKHEAD_TRAINING_WEIGHT="none",
        BULKHEAD_TRAINING_MEMORY_MB="none",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_stage_that_gets_no_core_says_so(limited: None, tmp_path: Path) -> None:
    loop = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\nwhile True: pass"
    stage = STAGE.format(work=loop, name=cgroups.NAME, look_s=0.5)
    environment = os.environ | {"PYTHONPATH": str(PROJECT), contained.WEIGHT: "idle"}
    told = tmp_path / "stderr"
    with (
        told.open("wb") as errors,
        subprocess.Popen([sys.executable, "-c", stage], env=environment, stderr=errors) as guard,
        subprocess.Popen([sys.executable, "-c", loop]) as other,
    ):
        try:
            until(lambda: told.read_text().endswith("\n"), "the stage to say that it waits", limit_s=120)
        finally:
            other.kill()
            guard.terminate()
    assert told.read_text().startswith("train waits for the CPU, which other programs use; ")


@pytest.mark.parametrize(
    ("content", "weight", "said"),
    [
        (None, cgroups.IDLE, ""),
        ("", cgroups.IDLE, ""),
        ("5\n", cgroups.IDLE, ""),
        ("a b c\n", cgroups.IDLE, ""),
        (
            "0 99000000000 1\n",
            cgroups.IDLE,
            "train waits for the CPU, which other programs use; BULKHEAD_TRAINING_WEIGHT=none gives stages an equal share\n",
        ),
        ("0 99000000000 1\n", None, "train waits for the CPU, which other programs use\n"),
    ],
)
def test_look_at_a_stage_says_what_its_counters_show(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    weight: int | None,
    said: str,
) -> None:
    looks: list[Callable[[], None]] = []
    monkeypatch.setattr(contained.signal, "signal", lambda _, look: looks.append(look))
    monkeypatch.setattr(contained.signal, "setitimer", lambda *_: None)
    monkeypatch.setattr(contained, "Path", lambda _: tmp_path / "schedstat")
    if content is not None:
        (tmp_path / "schedstat").write_text(content)
    contained._tell_when_starved(1, "train", cgroups.Limits(weight, None))
    looks[0]()
    assert capsys.readouterr().err == said
