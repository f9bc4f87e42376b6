"""Raw rows of every kind of source, through the pipeline and through every protocol of a real server: one answer, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drills.answers import one_answer, raw_rows
from harness import slice as sliced

ROWS = 300


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose code serves."""
    if given := os.environ.get("BULKHEAD_TEST_BUNDLE"):
        return Path(given)
    directory = tmp_path_factory.mktemp("project")
    sliced.prepared(directory)
    return directory / "build" / "bundle"


@pytest.mark.parametrize("source", raw_rows.SOURCES)
def test_raw_row_has_one_answer_or_one_refusal_whichever_way_it_goes(
    source: str, template: Path, tmp_path: Path
) -> None:
    judged = one_answer.judge(source, ROWS, 7, tmp_path)
    answered = [outcome for outcome, _ in judged.outcomes.values()]
    assert answered.count("answer") > ROWS * 0.9
    assert answered.count("refused") >= 2
    assert len({score for outcome, score in judged.outcomes.values() if outcome == "answer"}) > ROWS / 10
    with one_answer.serve(judged, template, tmp_path) as ask:
        sent, wrong = one_answer.compare(judged, ask, 7)
    assert (sent, wrong) == (ROWS * 5, [])
