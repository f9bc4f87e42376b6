"""The evaluation of a run as Markdown, for a person who decides whether its model is deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contract.bundle import evidence, manifest
from contract.errors import ConfigurationError
from pipelines import paths


def description(root: Path, months: tuple[str, ...], commit: str) -> str:
    """Return the verdict of the gates, the bundle, each gate, and the headline score beside the others'; names and figures, never a row.

    Raises:
        ConfigurationError: nothing was evaluated.
    """
    try:
        approval, metrics = (json.loads((root / path).read_bytes()) for path in (paths.GATES, paths.METRICS))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{error.filename} is missing: run the stage `evaluate` first") from None
    headline = approval["headline"]
    # A run that an earlier version recorded has figures without bounds.
    scores = {
        name: {"figure": found[headline], **found.get("bounds", {}).get(headline, {})}
        for name, found in {"this model": metrics, **metrics["against"]}.items()
    }
    return "\n".join(
        [
            f"Gates: **{approval['verdict']}**, months {months[0]} to {months[-1]}, commit `{commit[:12]}`",
            *_bundle(root),
            "",
            f"| model | {headline} | lower bound | upper bound |",
            "|---|---|---|---|",
            *(_row(name, found) for name, found in scores.items()),
            "",
            "| gate | verdict | figure | lower bound | upper bound |",
            "|---|---|---|---|---|",
            *(_row(f"{check['name']} | {check['verdict']}", check) for check in approval["checks"]),
            "",
            f"weak slices: {len(approval['weak'])}; breaks for callers of the live model: {len(approval['breaks'])}",
        ]
    )


def _bundle(root: Path) -> list[str]:
    """Return the line that names the bundle; none where that in the workspace is of another evaluation, or missing."""
    path = root / paths.BUNDLE / evidence.GATES
    if not path.is_file() or path.read_bytes() != (root / paths.GATES).read_bytes():
        return []
    return ["", f"Bundle `{manifest.digest_of(root / paths.BUNDLE)}`"]


def _row(name: str, found: Mapping[str, Any]) -> str:
    return f"| {' | '.join([name, *(_figure(found.get(key)) for key in ('figure', 'lower_bound', 'upper_bound'))])} |"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
