from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from fleet.supervisor.processes import end, marked

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


@pytest.fixture
def mark() -> dict[str, str]:
    return {"BULKHEAD_TEST_MARK": uuid.uuid4().hex}


def start(mark: dict[str, str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], env=os.environ | mark, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_marked_process_ends_even_when_it_ignores_sigterm(mark: dict[str, str]) -> None:
    with start(mark) as process:
        assert marked(mark) == {process.pid}
        started = time.monotonic()
        end(mark, patience_s=0.2)
        assert process.wait(5) == -9
        assert time.monotonic() - started >= 0.2
    assert marked(mark) == set()


def test_process_with_another_mark_is_left_alone(mark: dict[str, str]) -> None:
    with start(mark) as process:
        end({**mark, "BULKHEAD_OTHER": "1"}, patience_s=0.0)
        assert process.poll() is None
        process.kill()


def test_marked_process_is_found_while_others_end(mark: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def ended(path: Path, **options: bool) -> os.stat_result:
        if path.parent.parent == Path("/proc"):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(path))
        return stat(path, **options)

    with start(mark) as process, monkeypatch.context() as patched:
        patched.setattr(Path, "stat", ended)
        try:
            assert marked(mark) == {process.pid}
        finally:
            process.kill()
