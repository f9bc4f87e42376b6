from __future__ import annotations

import stat
from pathlib import Path

import pytest

from contract.errors import ConfigurationError, UnavailableError
from fleet.configuration import history
from fleet.configuration.changes import Cause, described


def test_entries_tell_who_why_evidence_and_verdict(tmp_path: Path) -> None:
    history.append(
        tmp_path,
        Cause("judge", "more errors", {"errors": [0.01, 0.05], "live": [None, "b" * 64]}),
        "rollback",
        "a" * 64,
        "done",
    )
    (entry,) = history.read(tmp_path)
    assert (entry.by, entry.why, entry.verb, entry.bundle, entry.verdict) == (
        "judge",
        "more errors",
        "rollback",
        "a" * 64,
        "done",
    )
    assert entry.evidence == {"errors": [0.01, 0.05], "live": [None, "b" * 64]}
    text = described([entry])
    assert all(part in text for part in ("judge", "more errors", "rollback", "aaaaaaaaaaaa", "0.05", "done"))
    assert text.endswith(f"live [null, {'b' * 12}]")
    assert stat.S_IMODE((tmp_path / history.FILE_NAME).stat().st_mode) == 0o600


def test_half_a_line_of_a_killed_writer_costs_only_itself(tmp_path: Path) -> None:
    history.append(tmp_path, Cause("one"), "scale", None, "done")
    with (tmp_path / history.FILE_NAME).open("ab") as stream:
        stream.write(b'{"at": "2026')
    history.append(tmp_path, Cause("two"), "scale", None, "done")
    assert [entry.by for entry in history.read(tmp_path)] == ["one", "two"]


def test_same_failure_is_told_once_until_something_else_happens(tmp_path: Path) -> None:
    for verdict in ("failed: no", "failed: no", "done", "failed: no", "failed: no", "failed: other"):
        history.append(tmp_path, Cause("reconciler"), "apply", None, verdict)
        history.append(tmp_path, Cause("root"), "scale", None, "done")
    told = [entry.verdict for entry in history.read(tmp_path) if entry.by == "reconciler"]
    assert told == ["failed: no", "done", "failed: no", "failed: other"]


def test_change_is_not_lost_with_its_entry_when_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / history.FILE_NAME).symlink_to("/dev/full")
    history.append(tmp_path, Cause("one"), "scale", None, "done")


def test_change_is_not_lost_with_its_entry_when_the_history_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / history.FILE_NAME).mkdir()
    history.append(tmp_path, Cause("one"), "scale", None, "done")
    with pytest.raises(OSError, match="Is a directory"):
        history.read(tmp_path)


def test_history_is_empty_before_the_first_change(tmp_path: Path) -> None:
    assert described(history.read(tmp_path)) == "nothing was changed yet"


def test_verdict_tells_what_can_be_tried_again() -> None:
    assert history.verdict_of(ConfigurationError("no")) == "refused: no"
    assert history.verdict_of(UnavailableError("not now")) == "failed: not now"
