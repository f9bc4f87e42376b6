"""Each plane works while all of the other is gone: code, environments, data and state."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from contract.bundle import manifest
from contract.store.store import Store
from drills.fleet.custody import without_training
from drills.fleet.fleets import asked, fleets
from harness.bundles import Bundle
from harness.projects import FLEET, both_planes, take_away
from tests.functional.commands import run


def test_fleet_serves_scales_and_deploys_when_the_training_plane_is_gone(project: Path) -> None:
    with fleets(Bundle(project / "build" / "bundle")) as (one,):
        copy = both_planes(one.scratch / "project")
        own = replace(one, project=copy, python=copy / ".venv" / "fleet" / "bin" / "python")
        own.serve(2)
        with asked(own, 30, 4, own.first, own.second) as found:
            taken = without_training(own)
        assert {"pipelines", "dags", ".dvc", ".venv/pipeline"} <= set(taken)
        assert (found["asked"] > 60, found["failed"]) == (True, 0)


def test_training_makes_and_publishes_a_bundle_when_the_fleet_is_gone(project: Path, tmp_path: Path) -> None:
    copy = both_planes(tmp_path / "project")
    shutil.copytree(project, copy, symlinks=True, dirs_exist_ok=True)
    (copy / "var" / "fleet").mkdir()
    taken = take_away(copy, FLEET, tmp_path / "away")
    assert taken == list(FLEET)
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("max_rounds: 1500", "max_rounds: 60"))
    path = f"PATH={copy / '.venv' / 'pipeline' / 'bin'}:/usr/bin:/bin"
    trained = run(copy, "env", path, "dvc", "repro")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "Running stage 'train'" in trained.stdout
    published = run(copy, "env", path, "python", "-m", "pipelines", "publish")
    assert published.returncode == 0, published.stderr
    candidate = Store(str(copy / "store")).read("candidate")
    assert candidate is not None
    assert (
        candidate.digest
        == manifest.digest_of(copy / "build" / "bundle")
        != manifest.digest_of(project / "build" / "bundle")
    )
    assert not [name for name in FLEET if (copy / name).exists()]
