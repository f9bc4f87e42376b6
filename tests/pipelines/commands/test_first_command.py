"""The first command of a pipeline, where a setting or params.yaml is wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.errors import EXIT_CONFIGURATION
from pipelines import __main__ as command


def test_unknown_level_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BULKHEAD_LOG", "loud")
    assert command.main(["declare"]) == EXIT_CONFIGURATION
    assert "BULKHEAD_LOG is 'LOUD'; it must be one of DEBUG, INFO" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["", "info"])
def test_level_may_be_empty_or_in_small_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKHEAD_LOG", level)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    assert command.main(["declare"]) == EXIT_CONFIGURATION
    assert "cannot read params.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "params.yaml, line 2, column 1, is not YAML: did not find expected node content; correct it"),
        (
            "tune: {}\ntune: {}\n",
            'params.yaml, line 2, column 1, is not YAML: found duplicate key "tune" with value "{}"',
        ),
        ("- name", "params.yaml must be a mapping"),
        ("data: {}\n", "field 'target': required, but missing"),
        ("data:\ntarget:\n", "field 'data': must be a mapping"),
        ("data: 2026-02-30\n", "params.yaml has a value that cannot be read"),
    ],
)
def test_first_stage_says_what_is_wrong_in_params_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text)
    assert command.main(["declare"]) == EXIT_CONFIGURATION
    assert said in capsys.readouterr().err


def test_month_that_is_not_listed_is_refused(
    raw: dict[str, Any], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "params.yaml").write_text(yaml.safe_dump(raw))
    assert command.main(["collect", "foo"]) == EXIT_CONFIGURATION
    assert (
        "data.months of params.yaml does not list 'foo'; it has 2024-01, 2024-02, 2024-03\n" in capsys.readouterr().err
    )
