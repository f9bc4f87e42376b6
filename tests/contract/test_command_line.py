"""The end of a command: its exit code, and what it says when it stops."""

from __future__ import annotations

import errno
import json

import pytest

from contract import command_line
from contract.errors import EXIT_USAGE, BundleError, Problem

FAILURE = BundleError("the bundle is broken", [Problem(None, "schema.json", "is missing")])


def _stop(error: Exception) -> int:
    raise error


def test_command_gives_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.run(lambda: 3, stopped="never said") == 3
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "required: COMMAND"), (["down"], "invalid choice: 'down'"), (["up", "x"], "x")]
)
def test_wrong_usage_ends_with_64(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_line.Parser(prog="fleet")
    parser.add_subparsers(required=True, metavar="COMMAND").add_parser("up")
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(arguments)
    assert stopped.value.code == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_expected_failure_is_explained_and_gives_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.run(lambda: _stop(FAILURE), stopped="show stopped") == 65
    assert capsys.readouterr() == ("", "show stopped: the bundle is broken\n  - field 'schema.json': is missing\n")


def test_expected_failure_is_in_one_line_and_in_json_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.run(lambda: _stop(FAILURE), stopped="refused", as_json=True, in_one_line=True) == 65
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"code": 65, "message": str(FAILURE)}}
    assert err == "refused: the bundle is broken - field 'schema.json': is missing\n"


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.ENOSPC, 75, "the disk is full or failing: /table: No space left"),
        (errno.EROFS, 78, "has no permission: /table: "),
        (errno.ENOTDIR, 78, "a path cannot be used: /table: Not a directory"),
    ],
)
def test_disk_that_fails_is_explained_in_whichever_library_it_is_noticed(
    capsys: pytest.CaptureFixture[str], number: int, code: int, said: str
) -> None:
    def write() -> int:
        try:
            raise OSError(number, "of the system", "/table")
        except OSError as error:
            raise RuntimeError("a library's own") from error

    assert command_line.run(write, stopped="collect stopped") == code
    assert said in capsys.readouterr().err


def test_defect_is_not_explained_away() -> None:
    with pytest.raises(ZeroDivisionError):
        command_line.run(lambda: 1 // 0, stopped="never said")
