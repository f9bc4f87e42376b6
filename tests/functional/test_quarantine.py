"""A refused batch and its way back, through DVC on real months."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from docs import code_blocks
from tests.functional.commands import run

BATCH = "2013-04"


def _quarantine(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(project, "python", "-m", "pipelines", "quarantine", *arguments)


def _documented(project: Path, verb: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the page, as it stands there."""
    return run(project, "bash", "-c", code_blocks.block("docs/how-to/quarantine.md", f"quarantine {verb} "))


def _states(project: Path) -> dict[str, str]:
    listed = _quarantine(project, "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return {batch["month"]: batch["state"] for batch in json.loads(listed.stdout)}


def test_a_refused_batch_is_released_after_the_fix_and_only_bad_rows_stay_behind(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("pytest*"))
    params = copy / "params.yaml"
    sound = params.read_text()
    narrow = sound.replace(
        "distance: {kind: number, unit: mi, minimum: 1,", "distance: {kind: number, unit: mi, minimum: 90,"
    )
    assert narrow != sound
    params.write_text(narrow)
    assert run(copy, "dvc", "repro", "validate").returncode != 0
    assert _states(copy) == {"2013-03": "quarantined", BATCH: "quarantined"}
    assert "expect_column_values_to_be_between; 1 of 28330 rows" in _documented(copy, "show").stdout
    assert _documented(copy, "release").returncode == 65
    assert run(copy, "python", "-m", "pipelines", "verify").returncode == 0
    assert _states(copy)[BATCH] == "quarantined"

    params.write_text(sound)
    assert run(copy, "dvc", "repro", "validate").returncode == 0  # from DVC's cache: the stage does not run
    assert _states(copy) == {"2013-03": "accepted", BATCH: "accepted"}
    params.write_text(narrow)
    assert run(copy, "dvc", "repro", "validate").returncode != 0
    assert _states(copy)[BATCH] == "quarantined"

    params.write_text(narrow.replace("  rows: [20000, 40000]", "  budget: 0.001\n  rows: [20000, 40000]"))
    released = _documented(copy, "release")
    assert released.returncode == 0, released.stdout + released.stderr
    assert _states(copy) == {"2013-03": "accepted", BATCH: "accepted"}
    counts = json.loads((copy / "data" / "quarantine" / "counts.json").read_bytes())
    assert counts == {"2013-03": {"range:distance": 5}, BATCH: {"range:distance": 1}}
    assert "data/accepted" in (copy / "dvc.lock").read_text()

    params.write_text(narrow)
    assert run(copy, "dvc", "repro", "validate").returncode != 0  # from DVC's cache
    assert _documented(copy, "drop").returncode == 0
    assert _states(copy)[BATCH] == "dropped"
