"""Which arguments the verbs refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest

from contract.errors import EXIT_USAGE
from harness import PROJECT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("scale 1 2 3", "one number, or the least and the most"),
        ("scale 3 2", "one number, or the least and the most"),
        ("scale 0", "'0' is not a whole number, 1 to 64"),
        ("up --size 65", "'65' is not a whole number, 1 to 64"),
        ("deploy live --canary 100", "'100' is not a whole number, 1 to 99"),
        ("deploy live --canary if-traffic", "needs --wait"),
        ("deploy live --shadow --percent 101", "'101' is not a whole number, 1 to 100"),
        ("deploy live --percent 5", "--percent needs --shadow"),
        ("deploy live --since noon", "'noon' is not a time such as"),
        ("deploy live --wait --canary 5", "--wait needs"),
    ],
)
def test_wrong_usage_is_one_line_and_64(words: str, said: str) -> None:
    run = [sys.executable, "-m", "fleet", *words.split()]
    done = subprocess.run(run, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip().count("\n")) == (EXIT_USAGE, "", 0)
    assert said in done.stderr
