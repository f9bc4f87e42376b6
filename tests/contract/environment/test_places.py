"""Directories in which the project can work, and refusals of the others."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from contract.environment import places
from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from tests.faults.places import ODD


@pytest.mark.parametrize("name", ["bulkhead", ODD, unicodedata.normalize("NFD", "café"), "飛行機"])
def test_path_of_letters_digits_spaces_and_common_signs_is_supported(name: str) -> None:
    places.require_supported(Path("/srv", name))


@pytest.mark.parametrize("character", [":", '"', "#", ";", "$", "*", "[", "\\", "\n", os.fsdecode(b"\xff")])
def test_unsupported_character_is_named_with_the_path(character: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        places.require_supported(Path(f"/srv/a{character}b"))
    assert str(refused.value).startswith(f"{f'/srv/a{character}b'!r} contains {character!r}")
    assert "\n" not in str(refused.value)


def test_project_is_refused_in_one_line_when_its_state_may_not_lie_where_it_is_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BULKHEAD_VAR", "/srv/a:b")
    assert places.main(tmp_path) == EXIT_CONFIGURATION
    assert "'/srv/a:b' contains ':'" in capsys.readouterr().err


def test_project_is_refused_in_one_line_when_it_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert places.main(tmp_path) == 0
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write wherever the disk lets it
    assert places.main(tmp_path) == EXIT_CONFIGURATION
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path} is read-only")
    assert said.count("\n") == 1


def test_state_too_deep_for_a_socket_is_refused() -> None:
    places.require_fit_for_state(Path("/" + "x" * 71))
    with pytest.raises(ConfigurationError, match=r"too long .* set BULKHEAD_VAR to a path of 72 bytes"):
        places.require_fit_for_state(Path("/" + "x" * 72))
