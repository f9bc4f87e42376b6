from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from fleet.configuration import declaration, declaration_text
from fleet.configuration.declaration import Declaration
from fleet.configuration.state import Bounds

FILE = Path("fleet.yaml")


def parsed(replicas: str) -> Declaration:
    return declaration.parse(f"replicas: {replicas}\n".encode(), FILE)


def test_target_has_a_default_and_is_kept_when_the_bounds_are_written_again() -> None:
    assert parsed("{min: 2, max: 8}").replicas == Bounds(2, 8, 2.5)
    declared = parsed("{min: 2, max: 8, in_flight: 0.5}")
    assert declared.replicas == Bounds(2, 8, 0.5)
    text = declaration_text.rendered(Declaration(replicas=Bounds(3, 4, 0.5)), b"replicas: 2 # some\n", FILE)
    assert declaration.parse(text, FILE).replicas == Bounds(3, 4, 0.5)


@pytest.mark.parametrize("target", ["0", "-1", "101", "true", "many", ".nan"])
def test_target_that_cannot_be_is_refused(target: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"replicas\.in_flight is .*; it must be a number above 0, 100 at most"
    ):
        parsed(f"{{min: 2, max: 8, in_flight: {target}}}")
