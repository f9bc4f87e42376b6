"""Faults of the disk below a store, for real: full, failing, and a publisher that is killed. What was live stays whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.bundle import manifest, signature
from contract.errors import UnavailableError
from contract.store.channel import Channel
from contract.store.store import Store
from fleet.store import retention
from harness import PROJECT
from tests.contract.conftest import write_bundle
from tests.faults import disks

KEY = signature.make_key()
PUBLIC = signature.public_key_of(KEY)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with disks.needed(tmp_path / "disk", megabytes=8) as path:
        yield path


def bundle_of_files(path: Path, text: str, files: int) -> Path:
    (path / "src").mkdir(parents=True)
    for number in range(files):
        (path / "src" / f"{number}.txt").write_text(f"{text} {number}\n" * 1000)
    write_bundle(path, text)
    return path


def live_store(location: Path, tmp_path: Path) -> tuple[Store, Channel]:
    """A store in which something is live already."""
    store = Store(str(location), private_key=KEY, trusted=lambda: [PUBLIC])
    digest = store.put(bundle_of_files(tmp_path / "live", "live", 3))
    return store, store.move("live", digest, expected=None, by="test")


def check(store: Store, live: Channel) -> None:
    """The live pointer resolves to a verified bundle, and nothing under a final name is anything else."""
    assert store.read("live") == live
    for digest in {live.digest, *store.digests()}:
        assert store.path(digest).is_dir()


def test_put_fails_cleanly_when_the_disk_is_full_and_succeeds_once_there_is_room(disk: Path, tmp_path: Path) -> None:
    store, live = live_store(disk / "store", tmp_path)
    bundle = bundle_of_files(tmp_path / "bundle", "new", 60)
    empty = os.statvfs(disk)
    digest = store.put(bundle)
    needed = empty.f_bfree - os.statvfs(disk).f_bfree
    assert needed > 100
    assert store.remove(digest)
    ballast = disk / "ballast"
    for percent in (10, 50, 90, 99):
        ballast.write_bytes(bytes((empty.f_bfree - needed * percent // 100) * empty.f_bsize))
        with pytest.raises(UnavailableError, match=r"cannot put a bundle: .*No space left on device.*try again"):
            store.put(bundle)
        assert store.digests() == [live.digest]
        assert store.leftovers() == []
        check(store, live)
        ballast.unlink()
    assert store.put(bundle) == digest
    ballast.write_bytes(bytes(os.statvfs(disk).f_bfree * empty.f_bsize))
    with pytest.raises(UnavailableError, match=r"cannot move the channel 'live'.*No space left on device"):
        store.move("live", digest, expected=live, by="test")
    check(store, live)
    ballast.unlink()
    assert store.move("live", digest, expected=live, by="test").generation == 2


FAILING = """
import ctypes, sys, tempfile
from pathlib import Path
from contract.errors import UnavailableError
from contract.store.store import Store
fiu = ctypes.CDLL("libfiu.so.0")
fiu.fiu_set_prng_seed(7)
fiu.fiu_enable_random.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_float]
location, key, points, chance = sys.argv[1], Path(sys.argv[2]).read_bytes(), sys.argv[3].split(","), float(sys.argv[4])
store, results = Store(location, private_key=key), []
tempfile.gettempdir()  # found while the disk is well
for bundle in sys.argv[5:]:
    for point in points:
        fiu.fiu_enable_random(point.encode(), 1, 5, 0, chance)
    try:
        results.append("ok " + store.put(Path(bundle)))
    except UnavailableError as error:
        results.append(str(error))
    finally:
        for point in points:
            fiu.fiu_disable(point.encode())
print("\\n".join(results))
"""


@pytest.mark.parametrize(
    ("points", "chance"),
    [("posix/io/sync/fsync", 0.1), ("posix/io/rw/write,posix/io/dir/rename,posix/io/dir/unlink", 0.3)],
    ids=["fsync", "write, rename, unlink"],
)
def test_put_fails_cleanly_when_the_disk_fails_at_random(points: str, chance: float, tmp_path: Path) -> None:
    if not shutil.which("fiu-run"):
        pytest.skip("fiu-run is not installed: Debian has it in fiu-utils")
    store, live = live_store(tmp_path / "store", tmp_path)
    (tmp_path / "key").write_bytes(KEY)
    bundles = [bundle_of_files(tmp_path / f"bundle{number}", str(number), 10) for number in range(12)]
    command = [
        "fiu-run",
        "-x",
        sys.executable,
        "-c",
        FAILING,
        store.location,
        str(tmp_path / "key"),
        points,
        str(chance),
    ]
    done = subprocess.run([*command, *map(str, bundles)], cwd=PROJECT, capture_output=True, text=True, check=False)
    results = done.stdout.splitlines()
    assert len(results) == len(bundles), done.stderr
    failed = [result for result in results if not result.startswith("ok ")]
    assert failed
    assert [result for result in failed if "Input/output error" not in result or "try again" not in result] == []
    check(store, live)
    assert {result[3:] for result in results if result.startswith("ok ")} <= set(store.digests())
    assert {store.put(bundle) for bundle in bundles} | {live.digest} == set(store.digests())
    check(store, live)


PUTTING = """
import sys
from pathlib import Path
from contract.store.store import Store
from tests.faults import dying
dying.after(int(sys.argv[4]))
Store(sys.argv[1], private_key=Path(sys.argv[2]).read_bytes()).put(Path(sys.argv[3]))
"""


def test_killed_put_leaves_nothing_under_a_final_name_and_gc_clears_the_rest(tmp_path: Path) -> None:
    store, live = live_store(tmp_path / "store", tmp_path)
    (tmp_path / "key").write_bytes(KEY)
    for steps in (1, 20, 40, 60):  # so many of its files are on disk
        bundle = bundle_of_files(tmp_path / f"bundle{steps}", str(steps), 60)
        command = [sys.executable, "-c", PUTTING, store.location, str(tmp_path / "key"), str(bundle), str(steps)]
        assert subprocess.run(command, cwd=PROJECT, check=False).returncode == -signal.SIGKILL
        check(store, live)
        assert store.put(bundle) == manifest.digest_of(bundle)
    torn = store.leftovers()
    assert len(torn) == 4
    rule = retention.Rule(datetime.now(UTC), timedelta(0), frozenset())
    freed = retention.delete(store, retention.find(store, rule), rule)
    assert freed.leftovers == tuple(torn)
    assert (store.leftovers(), store.digests()) == ([], [live.digest])
