"""The rubric of the ML Test Score: its form, and how points follow from outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.score import scoring, suites
from drills.score.checks import Check, NotShownError, Outcome
from drills.score.rubric import SECTIONS, Question
from harness import PROJECT

ASKED = [test for section in SECTIONS.values() for test in section]
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.fleet.test_a" name="test_both[1]"/>
<testcase classname="tests.fleet.test_a" name="test_both[2]"><failure message="assert 1 == 2">…</failure></testcase>
<testcase classname="tests.fleet.test_a" name="test_skipped"><skipped message="no Envoy"/></testcase>
<testcase classname="tests.fleet.test_a" name="test_good"/>
</testsuite></testsuites>"""


def test_there_are_four_sections_of_seven_tests_and_each_has_a_check() -> None:
    assert [len(section) for section in SECTIONS.values()] == [7, 7, 7, 7]
    assert len({test.asks for test in ASKED}) == 28
    for test in ASKED:
        checks = [check for check in (test.automated, test.manual) if check]
        assert checks
        assert all(check.tests or check.evidence for check in checks)
        assert test.automated or test.lacks, test.asks
        assert not test.manual or (PROJECT / "docs" / str(test.manual.page)).is_file(), test.asks


@pytest.mark.parametrize("name", sorted(scoring.selected()))
def test_selected_test_is_there(name: str) -> None:
    assert suites.is_there(name)


def test_whole_point_is_for_what_runs_by_itself_and_half_a_point_for_what_a_person_runs() -> None:
    outcomes = {"good": Outcome(True), "bad": Outcome(False, "it failed")}
    by_itself, by_hand = Check(("good",)), Check(("good",), page="index.md")
    failing = Check(("bad",))

    def points(test: Question) -> tuple[float, str]:
        found = scoring._points(test, outcomes, PROJECT, PROJECT / "docs")
        return found.points, found.missing

    assert points(Question("", by_itself)) == (1.0, "")
    assert points(Question("", failing, by_hand)) == (0.5, "it failed")
    assert points(Question("", None, by_hand, "nobody runs it")) == (0.5, "nobody runs it")
    assert points(Question("", failing)) == (0.0, "it failed")
    assert points(Question("", failing, Check(("bad",), page="index.md"))) == (0.0, "it failed; by hand: it failed")
    assert points(Question("", None, Check(("good",), page="none.md"), "x"))[0] == 0.0


def test_evidence_that_is_missing_or_unreadable_gives_no_point(tmp_path: Path) -> None:
    def missing(_: Path) -> str:
        raise NotShownError("there is none")

    def unreadable(_: Path) -> str:
        raise KeyError("checks")

    assert Check(evidence=(missing,)).decide({}, tmp_path, tmp_path) == Outcome(False, "there is none")
    found = Check(evidence=(unreadable,)).decide({}, tmp_path, tmp_path)
    assert (found.passed, "unreadable cannot be read" in found.words) == (False, True)
    assert not Check(("a",)).decide({}, tmp_path, tmp_path).passed
    assert not Check().decide({}, tmp_path, tmp_path).passed


def test_score_is_the_smallest_section_and_what_is_missing_is_listed() -> None:
    card = {
        "a": [scoring.Scored("x", 1.0, "seen"), scoring.Scored("y", 1.0, "")],
        "b": [scoring.Scored("z", 0.5, "", "more")],
    }
    assert scoring.total(card) == 0.5
    assert "the smallest of the four: 0.5" in scoring.text(card)
    assert scoring.text(card).endswith("Missing:\n  z: more")


def test_test_passes_when_all_its_cases_did_and_none_was_skipped(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(JUNIT)
    cases = suites.read(report)
    found = {
        name: suites._outcome(f"fleet/test_a.py::{name}", cases) for name in ("test_both", "test_skipped", "test_good")
    }
    assert [entry.passed for entry in found.values()] == [False, False, True]
    assert "no Envoy" in found["test_skipped"].words
    assert suites._outcome("fleet/test_a.py", cases).passed is False
    assert suites._outcome("fleet/test_b.py", suites.read(tmp_path / "none.xml")).words.endswith("did not run")


def test_unknown_test_and_missing_environment_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suites, "ENVIRONMENTS", {"structure": "none"})
    found = suites.outcomes(["structure/test_score.py", "structure/test_nothing.py"], tmp_path)
    assert "is not installed" in found["structure/test_score.py"].words
    assert "there is no test" in found["structure/test_nothing.py"].words
