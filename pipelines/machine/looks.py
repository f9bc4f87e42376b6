"""The ledger of looks: the models that a hold-out has judged, in `var/looks/ledger.json`.

A hold-out that chooses among models flatters the chosen one. A look is one model judged on one hold-out, approved or not; judging the same
model again is the same look. The ledger lies outside of what DVC and the bundle know, as the ledger of costs: the same inputs give the
same digest, however often somebody looked before. All workspaces of a project share it.

Source: Dwork et al. 2015, The reusable holdout: Preserving validity in adaptive data analysis.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError, ModelRejectedError
from contract.files import canonical_json, private_directory, write_atomically
from pipelines.paths import var_directory


@dataclass(frozen=True)
class Look:
    """One model judged on one hold-out.

    Attributes:
        holdout: SHA-256 of the identities and the outcomes of its rows.
        model: SHA-256 of the exported model.
    """

    holdout: str
    model: str


def look_of(approval: Mapping[str, Any]) -> Look | None:
    """Return the look that `gates.json` tells of; None of an earlier version."""
    return Look(**approval["look"]) if "look" in approval else None


def as_json(look: Look) -> dict[str, str]:
    """Return a look as `gates.json` has it."""
    return asdict(look)


def record(look: Look, verdict: str) -> int:
    """Record a look, once for each model, and return the number of models that this hold-out has judged.

    Raises:
        ConfigurationError: the ledger is damaged.
        OSError: it cannot be written.
    """
    path = ledger()
    private_directory(path.parent)
    with (path.parent / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        entries = _read(path)
        models = entries.setdefault(look.holdout, {})
        if look.model not in models:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            models[look.model] = {"at": at, "verdict": verdict}
            write_atomically(path, canonical_json(entries))
        return len(models)


def count(holdout: str) -> int:
    """Return the number of models that a hold-out has judged; raises as `record` does."""
    return len(_read(ledger()).get(holdout, {}))


def ledger() -> Path:
    """Return the path of the ledger."""
    return var_directory() / "looks/ledger.json"


def told(models: int, limit: int) -> str:
    """Return the number of looks in words."""
    beyond = "; publish will refuse this model" if models > limit else ""
    return f"this hold-out has judged {models} model{'s' if models != 1 else ''}; gates.looks allows {limit}{beyond}"


def told_of(approval: Mapping[str, Any]) -> str | None:
    """Return the looks at the hold-out of `gates.json` in words; None of an earlier version."""
    look = look_of(approval)
    return told(count(look.holdout), approval["given"]["gates"]["looks"]) if look else None


def check(models: int, limit: int, rows: int) -> None:
    """Raise ModelRejectedError if a hold-out has judged more models than `gates.looks`."""
    if models > limit:
        raise ModelRejectedError(
            f"this hold-out of {rows:,} rows has judged {models} models, and gates.looks allows {limit}: the best of so many looks better "
            "than it is. Judge it on rows that chose no model (add a month to data.months, or hold out others by split); or, after "
            f"judging it by other means, set gates.looks: {models} in params.yaml"
        )


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict) or not all(isinstance(models, dict) for models in found.values()):
            raise ValueError("not an object of hold-outs")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is no ledger of looks ({error}); restore it, or move it away: the looks so far are then forgotten"
        ) from error
    return found
