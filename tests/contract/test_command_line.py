"""The end of a command: its exit code, and what it says when it stops."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    parser = command_line.parser(prog="fleet")
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
        (errno.EROFS, 78, "collect stopped: /table: Read-only file system; make it writable"),
        (errno.EACCES, 78, "has no permission: /table: "),
        (errno.ENOTDIR, 78, "a path cannot be used: /table: Not a directory"),
        (errno.EEXIST, 78, "a path cannot be used: /table: File exists"),
        (errno.EISDIR, 78, "a path cannot be used: /table: Is a directory"),
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


def test_lock_or_defect_that_meets_a_file_is_no_wrong_setting() -> None:
    def lock() -> int:
        raise RuntimeError(f"fatal: Unable to create 'index.lock': {os.strerror(errno.EEXIST)}.")

    def look_up() -> int:
        try:
            raise FileExistsError(errno.EEXIST, "of the system", "/table")
        except OSError:
            return {}["a defect"]

    for command, error in ((lock, RuntimeError), (look_up, KeyError)):
        with pytest.raises(error):
            command_line.run(command, stopped="never said")


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def wait() -> int:
        raise KeyboardInterrupt

    assert command_line.run(wait, stopped="predict stopped") == 130
    assert capsys.readouterr() == ("", "predict stopped: interrupted\n")


PROGRAM = """
import sys
from contract import command_line
def command():
    sys.stdin.read()
    {work}
    return 3
sys.exit(command_line.run(command, stopped="list stopped", as_json=True))
"""


def started(work: str, **environment: str) -> Any:
    """Start a program that does `work` in a command once its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_that_has_seen_enough_ends_the_command_without_a_word(unbuffered: str) -> None:
    with started("print('a line')", PYTHONUNBUFFERED=unbuffered) as process:
        process.stdout.close()
        process.stdin.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


FAILING = "from contract.errors import BundleError; raise BundleError('broken')"


def test_failure_keeps_its_words_and_its_code_when_nobody_reads_its_json() -> None:
    with started(FAILING) as process:
        process.stdout.close()
        process.stdin.close()
        assert (process.stderr.read(), process.wait()) == (b"list stopped: broken\n", 65)


@pytest.mark.parametrize(
    ("work", "said", "code"), [(FAILING, b"broken", 65), ("print('a line')", b"No space left", 75)]
)
def test_full_disk_under_the_output_is_told_once(work: str, said: bytes, code: int) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(work=work)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdin=subprocess.DEVNULL, stdout=full,
            stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert (said in done.stderr, done.stderr.count(b"\n"), done.returncode) == (True, 1, code)


TOLD = f"command_line.tell('waiting'); command_line.tell('done'); {FAILING}"
JSON = {"error": {"code": 65, "message": "broken"}}


@pytest.mark.parametrize("work", [FAILING, TOLD])
def test_failure_keeps_its_json_and_its_code_when_nobody_reads_its_words(work: str) -> None:
    with started(work) as process:
        process.stderr.close()
        process.stdin.close()
        assert (json.loads(process.stdout.read()), process.wait()) == (JSON, 65)


@pytest.mark.parametrize("work", [FAILING, TOLD])
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-"], ids=["a full disk", "closed"])
def test_failure_keeps_its_json_and_its_code_when_there_is_no_place_for_its_words(work: str, stderr: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {stderr}', sys.executable, PROGRAM.format(work=work)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert (json.loads(done.stdout), done.returncode) == (JSON, 65)


def test_pipe_of_another_that_breaks_is_a_defect() -> None:
    with started("raise BrokenPipeError") as process:
        _, said = process.communicate()
        assert (said.splitlines()[-1], process.returncode) == (b"BrokenPipeError", 1)


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    with started("print('\u2026 f\u00fcr')", PYTHONIOENCODING="latin-1") as process:
        assert process.communicate() == (b"\\u2026 f\xfcr\n", b"")
        assert process.returncode == 3


def test_command_works_when_its_output_is_closed() -> None:
    closed = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, PROGRAM.format(work="print(1)")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert (closed.stderr, closed.returncode) == (b"", 3)
