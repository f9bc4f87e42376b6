"""The fleet works while all of training is gone: code, environments, data and state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from drills.fleet.custody import without_training
from drills.fleet.fleets import asked, fleets
from harness.bundles import Bundle
from harness.projects import both_planes


def test_fleet_serves_scales_and_deploys_when_the_training_plane_is_gone(project: Path) -> None:
    with fleets(Bundle(project / "build" / "bundle")) as (one,):
        copy = both_planes(one.scratch / "project")
        own = replace(one, project=copy, python=copy / ".venv" / "fleet" / "bin" / "python")
        own.serve(2)
        with asked(own, 30, 4, own.first, own.second) as found:
            taken = without_training(own)
        assert {"pipelines", "dags", ".dvc", ".venv/pipeline"} <= set(taken)
        assert (found["asked"] > 60, found["failed"]) == (True, 0)
