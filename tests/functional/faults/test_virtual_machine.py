"""The drill of cgroup v2: what it counts, and the line that it says where it is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.training.cgroup2 import drill
from drills.training.cgroup2.inside import SUITES, SURROUNDINGS, report

SUITE = next(iter(SUITES))
ROOT, USER = "a service, as root", "a service, as an ordinary user"
NO_CGROUP = f"/sys/fs/cgroup/system.slice: {SURROUNDINGS[USER].lacking}"


def case(child: str = "") -> str:
    return f"<testcase>{child}</testcase>"


def skipped(reason: str) -> str:
    return case(f'<skipped message="{reason}" />')


@pytest.mark.parametrize(
    ("where", "cases", "counts"),
    [
        (ROOT, [case(), skipped("only an ordinary user")], (2, 0, True)),
        (ROOT, [case(), case("<failure />")], (2, 1, False)),
        (ROOT, [case(), case("<error />")], (2, 1, False)),
        (ROOT, [case(), skipped(NO_CGROUP)], (2, 1, False)),  # where one can be made
        (ROOT, [skipped("bubblewrap is not installed")], (1, 0, False)),
        (ROOT, [], (0, 0, False)),
        (USER, [case(), skipped(NO_CGROUP)], (2, 0, True)),
        (USER, [case(), skipped("/sys/fs/cgroup/system.slice: something else")], (2, 1, False)),
        (USER, [case(), case()], (2, 0, False)),  # as if a cgroup could be made
    ],
)
def test_drill_holds_when_tests_pass_and_are_skipped_for_the_reason_expected(
    tmp_path: Path, where: str, cases: list[str], counts: tuple[int, int, bool]
) -> None:
    if cases:
        (tmp_path / report(where, SUITE)).write_text(
            f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
        )
    found = drill._counted(tmp_path, where, SUITE)
    assert (found.requests, found.failed, found.holds) == counts


def test_drill_is_left_out_where_a_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert drill.cgroup2() == []
    assert (
        capsys.readouterr().out
        == "  left out: needs Debian's user-mode-linux, systemd, dbus-user-session, bubblewrap\n"
    )
