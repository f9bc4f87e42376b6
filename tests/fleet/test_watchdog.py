from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fleet import watchdog
from fleet.watchdog import Seen

START_LIMIT_S = 60.0


@pytest.mark.parametrize("missed", [0, 1, 3, 4, 5])
def test_process_hangs_when_it_misses_four_checks_in_a_row(missed: int) -> None:
    seen = Seen()
    answers = [True, False, True, *[False] * missed]
    verdicts = [seen.hangs(each, 5.0, START_LIMIT_S) for each in answers]
    assert verdicts == [False] * 3 + [each >= 4 for each in range(1, missed + 1)]


def test_process_has_the_start_limit_when_it_has_not_answered_yet() -> None:
    seen = Seen()
    assert not any(seen.hangs(answers=False, age_s=age_s, start_limit_s=START_LIMIT_S) for age_s in range(60))
    assert seen.hangs(answers=False, age_s=61, start_limit_s=START_LIMIT_S)


def test_watchdog_does_not_look_when_its_heartbeat_is_old_or_missing(tmp_path: Path) -> None:
    assert not watchdog.looks(tmp_path)
    watchdog.begin(tmp_path)
    assert watchdog.looks(tmp_path)
    old = time.time() - 60
    os.utime(tmp_path / "watchdog.alive", (old, old))
    assert not watchdog.looks(tmp_path)
