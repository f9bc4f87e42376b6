"""The reconciler as one of supervisord's programs, and the settings that it keeps from the last `fleet up`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from contract.files import canonical_json
from fleet.configuration.settings import Settings
from fleet.supervisor import code, heartbeat
from fleet.supervisor.supervision import Program, write_privately

NAME = heartbeat.NAME
_SETTINGS = "reconciler.json"


def program(settings: Settings) -> Program:
    """Return the reconciler as a program; it keeps today's settings of the environment, for the fleet that it acts on."""
    write_privately(settings.root / _SETTINGS, canonical_json(dict(settings.environment)))
    command = [sys.executable, "-m", "fleet.control.reconciler", str(settings.root)]
    return Program(NAME, command, settings.root, code.environment())


def kept_settings(root: Path) -> Settings:
    """Return the settings of the last `fleet up`."""
    return Settings.read(os.environ | json.loads((root / _SETTINGS).read_bytes()))
