"""The option `--target`: whose fleet a command is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import EXIT_CONFIGURATION, EXIT_USAGE
from fleet import __main__ as command
from harness import PROJECT


@pytest.mark.parametrize("arguments", [["--target", "mars", "status"], ["--target=mars", "status"], ["--target"]])
def test_an_unknown_target_is_refused_in_one_line(arguments: list[str]) -> None:
    run = [sys.executable, "-m", "fleet", *arguments]
    done = subprocess.run(run, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (EXIT_USAGE, "", 1)
    assert "machine or kubernetes" in done.stderr


def test_a_target_without_its_environment_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PROJECT", tmp_path)
    assert command.main(["--target", "kubernetes", "status"]) == EXIT_CONFIGURATION
    assert "make .venv/kubernetes/installed.txt" in capsys.readouterr().err
