"""Raw rows of every kind of source, through the pipeline and through every protocol of a real server: one answer, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.answers import one_answer, raw_rows

ROWS = 300


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
