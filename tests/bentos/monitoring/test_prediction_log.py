"""The writer of the prediction log: bounded in memory and on disk, whole or not at all, and all that it drops is counted."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bentos.monitoring.exposition import exposition
from bentos.monitoring.prediction_log import PredictionLog
from contract.prediction_log.records import Reader
from contract.prediction_log.settings import Settings
from harness import PROJECT
from harness.waiting import until
from tests.bentos.monitoring.test_metrics import FEATURES, FIELDS, FeatureSchema, Target, samples, value
from tests.faults import disks

SCHEMA = FeatureSchema("m", "binary", Target("t", ("no", "yes"), 0.5), FIELDS, FEATURES)
ROWS = 500
CAUSES = ("queue", "full", "disk")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed log is complete, however slow the disk is."""
    monkeypatch.setattr("bentos.monitoring.prediction_log._CLOSE_LIMIT_S", 60)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with disks.needed(tmp_path / "disk", megabytes=1) as path:
        yield path


def offer(log: PredictionLog, first: int, batches: int = 1) -> None:
    """Batches of numbered rows, one request each."""
    for start in range(first, first + batches * ROWS, ROWS):
        numbers = np.arange(start, start + ROWS, dtype=np.float32)
        matrix = np.stack([numbers, -numbers, numbers * 0 + 77], axis=1)
        log.offer([(start, ROWS, b"%d" % start)], matrix, numbers / 2)


def counts(log: PredictionLog) -> tuple[int, dict[str, int]]:
    """Rows written, and rows dropped by cause."""
    found = samples(exposition(log.collect()))
    dropped = {cause: int(value(found, "bulkhead_prediction_log_dropped_rows_total", cause=cause)) for cause in CAUSES}
    return int(value(found, "bulkhead_prediction_log_rows_total")), dropped


def numbers_in(directory: Path) -> list[int]:
    """The numbers of all rows that can be read, each row whole; and no file says more than that."""
    found: list[int] = []
    for path in sorted(directory.glob("*.predictions")):
        reader = Reader(path)
        assert reader.header
        assert reader.header.features == ("height", "weight")  # the third is made from a PII field
        for batch in reader.batches(path.stat().st_size):
            numbers = batch.matrix[:, 0]
            assert (batch.matrix[:, 1] == -numbers).all()
            assert (batch.scores[:, 0] == numbers / 2).all()
            assert batch.request_ids == [str(batch.times[0])] * ROWS
            found += numbers.astype(int).tolist()
        assert reader.unreadable_bytes == 0
    return found


def test_files_are_rotated_and_hold_every_row_once(tmp_path: Path) -> None:
    log = PredictionLog(Settings(tmp_path, 1 << 20), SCHEMA, "f00d", file_bytes=20_000)
    offer(log, 0, 30)
    log.close()
    files = list(tmp_path.iterdir())
    assert len(files) > 5
    assert max(path.stat().st_size for path in files) <= 20_000
    assert sorted(numbers_in(tmp_path)) == list(range(30 * ROWS))
    assert counts(log) == (30 * ROWS, dict.fromkeys(CAUSES, 0))
    assert {path.stat().st_mode & 0o777 for path in files} <= {0o640, 0o600}


def test_rows_are_dropped_and_counted_while_the_directory_is_full(tmp_path: Path) -> None:
    log = PredictionLog(Settings(tmp_path, 60_000), SCHEMA, "f00d", file_bytes=20_000)
    offer(log, 0, 30)
    until(lambda: counts(log)[0] + sum(counts(log)[1].values()) == 30 * ROWS)
    written, dropped = counts(log)
    assert dropped == {"queue": 0, "full": 30 * ROWS - written, "disk": 0}
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 60_000
    assert sorted(numbers_in(tmp_path)) == list(range(written))
    for path in tmp_path.iterdir():
        path.unlink()
    offer(log, 90_000, 2)
    log.close()
    assert numbers_in(tmp_path) == list(range(90_000, 90_000 + 2 * ROWS))


def test_rows_are_dropped_and_counted_while_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, and whoever offers rows never waits."""
    free = threading.Event()
    write = os.write

    def hang(descriptor: int, content: bytes) -> int:
        free.wait(20)
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", hang)
    log = PredictionLog(Settings(tmp_path, 1 << 30), SCHEMA, "f00d")
    big = np.ones((100_000, 3), np.float32)
    for number in range(40):
        log.offer([(number, len(big), b"")], big, big[:, 0])
    _, dropped = counts(log)
    assert 0 < dropped["queue"] < 40 * len(big)
    free.set()
    log.close()
    written, dropped = counts(log)
    assert written + dropped["queue"] == 40 * len(big)
    assert written * 16 <= 32 << 20


def test_rows_are_dropped_and_counted_while_the_disk_is_full(small_disk: Path) -> None:
    log = PredictionLog(Settings(small_disk, 1 << 30), SCHEMA, "f00d", file_bytes=1 << 19)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(bytes((free.f_bfree - 10) * free.f_bsize))
    offer(log, 0, 20)
    until(lambda: counts(log)[0] + sum(counts(log)[1].values()) == 20 * ROWS)
    written, dropped = counts(log)
    assert dropped["disk"] > 0
    assert written + dropped["disk"] == 20 * ROWS
    assert sorted(numbers_in(small_disk)) == list(range(written))
    ballast.unlink()
    offer(log, 50_000, 4)
    log.close()
    assert counts(log)[0] == written + 4 * ROWS
    assert sorted(numbers_in(small_disk)) == [*range(written), *range(50_000, 50_000 + 4 * ROWS)]


def test_rows_are_dropped_and_counted_when_the_directory_is_gone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = PredictionLog(Settings(tmp_path / "logs", 1 << 30), SCHEMA, "f00d")
    (tmp_path / "logs").rmdir()
    offer(log, 0, 3)
    log.close()
    assert counts(log) == (0, {"queue": 0, "full": 0, "disk": 3 * ROWS})


def test_file_is_locked_for_as_long_as_it_is_written(tmp_path: Path) -> None:
    log = PredictionLog(Settings(tmp_path, 1 << 30), SCHEMA, "f00d")
    offer(log, 0)
    until(lambda: counts(log)[0] == ROWS)
    (path,) = tmp_path.iterdir()
    with path.open("rb") as stream:
        with pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log.close()
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


FAILING = """
import ctypes, sys
from pathlib import Path
from bentos.monitoring import prediction_log
from contract.prediction_log.settings import Settings
from tests.bentos.monitoring.test_prediction_log import SCHEMA, counts, offer
prediction_log._CLOSE_LIMIT_S = 60
fiu = ctypes.CDLL("libfiu.so.0")
fiu.fiu_set_prng_seed(7)
fiu.fiu_enable_random.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_float]
log = prediction_log.PredictionLog(Settings(Path(sys.argv[1]), 1 << 30), SCHEMA, "f00d", file_bytes=50_000)
for point in (b"posix/io/rw/write", b"posix/io/oc/open", b"posix/io/sync/fsync"):
    fiu.fiu_enable_random(point, 1, 5, 0, 0.3)
offer(log, 0, 200)
log.close()
for point in (b"posix/io/rw/write", b"posix/io/oc/open", b"posix/io/sync/fsync"):
    fiu.fiu_disable(point)
written, dropped = counts(log)
print(written, dropped["disk"], sum(dropped.values()))
"""


def test_rows_are_dropped_and_counted_when_the_disk_fails_at_random(tmp_path: Path) -> None:
    if not shutil.which("fiu-run"):
        pytest.skip("fiu-run is not installed: Debian has it in fiu-utils")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)) + os.pathsep + str(PROJECT)}
    command = ["fiu-run", "-x", sys.executable, "-c", FAILING, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    written, failed, dropped = map(int, done.stdout.split())
    assert (written + failed, dropped) == (200 * ROWS, failed)
    assert min(written, failed) > 20 * ROWS
    found = numbers_in(tmp_path)
    assert len(found) == len(set(found)) == written


WRITING = """
import sys
from pathlib import Path
from bentos.monitoring.prediction_log import PredictionLog
from contract.prediction_log.settings import Settings
from tests.bentos.monitoring.test_prediction_log import SCHEMA, counts, offer
log = PredictionLog(Settings(Path(sys.argv[1]), 1 << 30), SCHEMA, "f00d", file_bytes=100_000)
for number in range(0, 10**9, 5000):
    offer(log, number, 10)
    while counts(log)[0] < number:
        pass
"""


def test_whole_rows_are_read_after_the_writer_was_killed(tmp_path: Path) -> None:
    draw = Random(7)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)) + os.pathsep + str(PROJECT)}
    for trial in range(3):
        directory = tmp_path / str(trial)
        directory.mkdir()
        command = [sys.executable, "-c", WRITING, str(directory)]
        with subprocess.Popen(command, cwd=PROJECT, env=environment) as writing:
            until(lambda written=directory: len(list(written.iterdir())) > 1)
            time.sleep(draw.uniform(0, 0.1))
            writing.send_signal(signal.SIGKILL)
        numbers = sorted(number for path in directory.iterdir() for number in _readable(path))
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > ROWS


def _readable(path: Path) -> Iterator[int]:
    """The numbers in a file that may end in the middle of anything."""
    for batch in Reader(path).batches(path.stat().st_size):
        assert (batch.scores[:, 0] == batch.matrix[:, 0] / 2).all()
        yield from batch.matrix[:, 0].astype(int).tolist()
