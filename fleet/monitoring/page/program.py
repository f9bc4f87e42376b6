"""The page as one of supervisord's programs, and the settings that it keeps from the last `fleet up`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from contract.files import canonical_json
from fleet.configuration.settings import Settings
from fleet.supervisor import code
from fleet.supervisor.supervision import Program, write_privately

NAME = "page"
_SETTINGS = "page.json"


def program(settings: Settings) -> Program:
    """Return the page as a program, with today's settings of the environment."""
    kept = canonical_json(dict(settings.environment))
    # Not as variables of the program, since keys in PEM have several lines.
    write_privately(settings.root / _SETTINGS, kept)
    command = [sys.executable, "-m", "fleet.monitoring.page", str(settings.root), str(settings.status_port)]
    return Program(NAME, command, settings.root, code.environment())


def kept_settings(root: Path) -> Settings:
    """Return the settings of the last `fleet up`."""
    return Settings.read(json.loads((root / _SETTINGS).read_bytes()))
