"""The error tree's messages."""

from __future__ import annotations

import pytest

from contract import errors
from contract.errors import BulkheadError, InvalidRowsError, Problem


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem(3, "wind", "must be a number"), "row 3, field 'wind': must be a number"),
        (Problem(0, None, "is not an object"), "row 0: is not an object"),
        (Problem(None, "wind", "absent"), "field 'wind': absent"),
        (Problem(None, None, "empty"), "empty"),
    ],
)
def test_problem_says_where(problem: Problem, expected: str) -> None:
    assert str(problem) == expected


def test_text_of_an_error_is_bounded_but_its_problems_are_all_there() -> None:
    error = InvalidRowsError("bad rows", [Problem(row, "x", "wrong") for row in range(1000)])
    assert len(str(error).splitlines()) == 12
    assert str(error).endswith("… and 990 more")
    assert len(error.problems) == 1000


def test_only_what_can_pass_has_an_exit_code_for_retries() -> None:
    def tree(root: type[BulkheadError]) -> list[type[BulkheadError]]:
        return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]

    retryable = {entry for entry in tree(BulkheadError) if entry.exit_code == errors.EXIT_RETRY}
    assert retryable == {errors.ConflictError, errors.UnavailableError}
    assert errors.EXIT_RETRY not in errors.FINAL_EXIT_CODES
