from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from harness import PROJECT
from pipelines.runs import months
from tests.pipelines.runs.conftest import PARAMS


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return path


def test_span_crosses_the_turn_of_the_year() -> None:
    assert months.span("2013-11", "2014-02") == ["2013-11", "2013-12", "2014-01", "2014-02"]


@pytest.mark.parametrize("last", ["2013-13", "2013-1", "13-01", "", "2012-12"])
def test_span_refuses_what_is_no_month_or_too_early(last: str) -> None:
    with pytest.raises(ConfigurationError):
        months.span("2013-01", last)


@pytest.mark.parametrize("last", ["2013-01", "2013-02", "2014-01"])
def test_cut_changes_one_line_only(params: Path, last: str) -> None:
    months.cut(params, last)
    wanted = ", ".join(f'"{month}"' for month in months.span("2013-01", last))
    expected = PARAMS.replace('"2013-01", "2013-02"', wanted)
    assert words(params.read_text()) == words(expected)
    assert months.read(params) == months.span("2013-01", last)


def test_cut_keeps_the_project_params_but_for_the_months(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes((PROJECT / "params.yaml").read_bytes())
    before = path.read_text().splitlines()
    months.cut(path, "2013-03")
    after = path.read_text().splitlines()
    changed = [line for line, other in zip(before, after, strict=True) if line != other]
    assert [line.strip().split(":")[0] for line in changed] == ["months"]


def test_cut_keeps_a_hole_among_the_months(params: Path) -> None:
    params.write_text(PARAMS.replace('"2013-01", "2013-02"', '"2013-01", "2013-03", "2013-04"'))
    assert months.cut(params, "2013-03") == ["2013-01", "2013-03"]
    assert months.cut(params, "2013-05") == ["2013-01", "2013-03", "2013-04", "2013-05"]
    with pytest.raises(ConfigurationError, match=r"data\.months omits 2013-02, between 2013-01 and 2013-05"):
        months.cut(params, "2013-02")


def test_read_says_so_when_no_month_is_listed(params: Path) -> None:
    params.write_text("data: {months: []}\n")
    with pytest.raises(ConfigurationError, match=r"data\.months"):
        months.read(params)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {months: [2026-02-30]}", "has a value that cannot be read .*; write it in quotes"),
        (f"data: {'[' * 5000}{']' * 5000}", "is nested too deeply"),
    ],
)
def test_read_names_the_file_that_cannot_be_read(params: Path, text: str, said: str) -> None:
    params.write_text(text)
    with pytest.raises(ConfigurationError, match=f"params.yaml {said}"):
        months.read(params)


def words(text: str) -> list[list[str]]:
    """Line by line, without how far apart: a comment stays in its column when the list before it grows."""
    return [line.split() for line in text.splitlines()]
