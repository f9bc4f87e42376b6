"""The facts of a stage, read from its own outputs: counts, verdicts, scores and digests, never a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError
from pipelines import paths
from pipelines.runs.outcomes.outcome import WOULD_RUN, Month, Stage

Facts = dict[str, Any]
# Pages for people, by the stage that writes them; in the run's reports once it is recorded.
_PAGES = {
    "validate": ("data_docs", paths.DATA_DOCS / "index.html"),
    "evaluate": ("report", paths.VERDICT),
    "bundle": ("report", paths.EVALUATION),
}


def complete(stage: Stage, root: Path) -> None:
    """Add the facts of a stage to its outcome, and the months that its outputs name; a missing output adds nothing."""
    try:
        if stage.state not in ("failed", WOULD_RUN) and stage.stage in _FACTS:
            stage.facts = _FACTS[stage.stage](root)
        for month, found in _MONTHS[stage.stage](root).items() if stage.stage in _MONTHS else ():
            entry = stage.months.setdefault(
                month, Month(month, "unchanged" if stage.state == "unchanged" else "ran", 0.0)
            )
            entry.rows = found["rows"]
            if found.get("refused"):
                entry.state = "refused"
    except (OSError, LookupError, TypeError, ValueError, BulkheadError):
        return  # no run fails because something cannot be told of it


def facts_of(command: str, root: Path) -> Facts:
    """Return the facts of a command that is no stage."""
    stage = Stage(command, "ran")
    complete(stage, root)
    return dict(stage.facts)


def links(stages: Iterable[str], root: Path, kept: Path) -> dict[str, str]:
    """Return the pages of these stages that are there, by their names, as files below the directory that keeps them."""
    pages = [_PAGES[stage] for stage in stages if stage in _PAGES]
    return {name: str(kept / path) for name, path in pages if (root / path).is_file()}


def _validated(root: Path) -> Facts:
    months = _read(root / paths.VALIDATION).values()
    return {
        "rows": sum(month["rows"] for month in months),
        "split_rows": sum(month["split_rows"] for month in months),
        "expectations": sum(len(month["expectations"]) for month in months),
    }


def _validated_months(root: Path) -> Facts:
    report = _read(root / paths.VALIDATION)
    return {month: {"rows": entry["rows"], "refused": not entry["success"]} for month, entry in report.items()}


def _trained(root: Path) -> Facts:
    training = _read(root / paths.TRAINING)
    return {"training_rows": training["rows"], "rounds": training["rounds"]}


def _judged(root: Path) -> Facts:
    approval, metrics = _read(root / paths.GATES), _read(root / paths.METRICS)
    headline = approval["headline"]
    checks = {check["name"]: check["verdict"] for check in approval["checks"]}
    facts: Facts = {"verdict": approval["verdict"], "scores": {headline: metrics[headline]}, "checks": checks}
    # None of too few days, nor of a run that an earlier version recorded.
    if bounds := metrics.get("bounds", {}).get(headline):
        facts["bounds"] = {headline: [bounds["lower_bound"], bounds["upper_bound"]]}
    return facts


def _bundled(root: Path) -> Facts:
    from contract.bundle import manifest

    return {"digest": manifest.digest_of(root / paths.BUNDLE)}


def _monitored(root: Path) -> Facts:
    report = _read(root / paths.MONITOR)
    verdict = "alarm" if report["alarm"] else "undecided" if report["undecided"] else "as when approved"
    headline = next(key for key in report if key.startswith("promised_")).removeprefix("promised_")
    return {
        "verdict": verdict,
        "scores": {headline: report[headline]},
        "rows": report["rows"],
        "digest": report["model"],
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


_FACTS: dict[str, Callable[[Path], Facts]] = {
    "validate": _validated,
    "tune": lambda root: {"tuning": _read(root / paths.TUNING)["verdict"]},
    "train": _trained,
    "evaluate": _judged,
    "bundle": _bundled,
    "publish": _bundled,
    "monitor": _monitored,
}
_MONTHS: dict[str, Callable[[Path], Facts]] = {
    "validate": _validated_months,
    "features": lambda root: _read(root / paths.COUNTS),
}
