from __future__ import annotations

import os
import subprocess
import sys

import pytest

from contract.environment.slices import LOWEST, SLICE_NS
from tests.contract.environment.slices import slice_ns

LOOK = "from tests.contract.environment.slices import slice_ns; print(slice_ns())"
SHORT = [sys.executable, "-m", "contract.environment.slices", sys.executable, "-c", LOOK]

pytestmark = [
    pytest.mark.skipif(slice_ns() == 0, reason="this kernel has slices of one length, or does not tell them"),
    pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) == LOWEST, reason="these tests have the lowest priority"),
]


def found(*before: str) -> int:
    return int(subprocess.run([*before, *SHORT], capture_output=True, text=True, check=True).stdout)


def test_command_and_what_it_starts_have_short_slices() -> None:
    assert slice_ns() > SLICE_NS
    assert found() == found("sh", "-c", '"$@"; exit', "sh") == SLICE_NS


def test_short_slices_change_no_priority() -> None:
    look = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    done = subprocess.run(["nice", "-n", "7", *SHORT[:-1], look], capture_output=True, text=True, check=True)
    assert int(done.stdout) == min(os.getpriority(os.PRIO_PROCESS, 0) + 7, LOWEST)


@pytest.mark.parametrize("before", [("nice", "-n", str(2 * LOWEST)), ("chrt", "--batch", "0"), ("chrt", "--idle", "0")])
def test_process_that_nobody_waits_for_keeps_its_slices(before: tuple[str, ...]) -> None:
    assert found(*before) == slice_ns()
