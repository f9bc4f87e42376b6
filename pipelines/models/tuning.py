"""The result of a search, as the stage `tune` writes and `train` applies it: `models/tuning.json`."""

from __future__ import annotations

import json
from typing import Any

from pipelines import paths

OFF, NO_BETTER, BETTER = "off", "no better than the defaults", "better than the defaults"


def parameters() -> dict[str, Any]:
    """Return the settings that the search found better; none without a search, or without its file, as in tests of `train` alone."""
    if not paths.TUNING.exists():
        return {}
    found: dict[str, Any] = json.loads(paths.TUNING.read_bytes())["parameters"]
    return found


def applied(settings: Any, parameters: dict[str, Any]) -> Any:
    """Return the settings of a family with these parameters in the place of its own."""
    return type(settings).model_validate(settings.model_dump() | parameters)


def shown(parameters: dict[str, Any]) -> str:
    """Return parameters as text."""
    return " ".join(f"{name}={value:g}" for name, value in sorted(parameters.items())) or "the defaults"
