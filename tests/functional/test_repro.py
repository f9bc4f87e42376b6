"""`dvc repro` on a slice of real months, in a copy of the project: what a DVC user expects of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract.bundle import manifest
from harness import slice as sliced
from tests.faults.modes import writable_by_others
from tests.faults.places import ODD
from tests.functional.commands import digests, run


def _dvc(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(project, "dvc", *arguments)


def test_repro_does_nothing_but_ask_for_the_champion_when_nothing_changed(project: Path) -> None:
    before = digests(project)
    done = _dvc(project, "repro")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Running stage") == 1
    assert "Running stage 'champion'" in done.stdout
    assert digests(project) == before


def test_repro_gives_the_same_digests_in_another_place_time_zone_and_setting(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / ODD / "elsewhere"
    sliced.copy_project(copy)
    params = copy / "params.yaml"
    params.write_text(
        params.read_text().replace("cpu_hour: 0.04", "cpu_hour: 4")
    )  # prices, and what a run costs, change nothing
    command = ["sh", "-c", 'umask 077 && exec "$@"', "sh", *_another_host(), "dvc", "--wait-for-lock", "repro"]
    done = run(copy, *command, TZ="Pacific/Chatham", LC_ALL="C", PYTHONHASHSEED="7", USER="somebody", COLUMNS="40")
    assert done.returncode == 0, done.stderr
    assert digests(copy) == digests(project)
    assert manifest.digest_of(copy / "build" / "bundle") == manifest.digest_of(project / "build" / "bundle")
    runs = [
        json.loads(run(place, "python", "-m", "pipelines", "costs", "--json").stdout)["runs"]
        for place in (copy, project)
    ]
    assert runs[0][0]["total"] != runs[1][0]["total"]
    assert set(runs[0][0]["stages"]) == set(yaml.safe_load((copy / "dvc.lock").read_text())["stages"])


def test_nothing_can_be_written_by_others_when_make_has_run_the_pipeline(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / ODD
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("site", "dvc-site"))
    (copy / "var").chmod(0o777)  # as an earlier version left it
    (copy / ".venv").symlink_to(Path(sys.executable).parents[2])
    installed = [f"--old-file=.venv/{name}" for name in ("uv/bin/uv", "pipeline/installed.txt")]
    done = run(copy, "env", "-u", "DVC_SITE_CACHE_DIR", "make", *installed, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copy / "var" / "dvc-site" / "repo").is_dir()
    assert writable_by_others(copy) == []


def _another_host() -> list[str]:
    """bubblewrap with a host name of its own, where it works."""
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--unshare-uts", "--hostname", "elsewhere"]
    try:
        subprocess.run([*sandbox, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return sandbox


def test_metrics_and_plots_show(project: Path) -> None:
    shown = json.loads(_dvc(project, "metrics", "show", "--json").stdout)
    assert 0.6 < shown[""]["data"]["metrics.json"]["data"]["roc_auc"] < 0.85
    plots = _dvc(project, "plots", "show", "--out", "plots")
    assert plots.returncode == 0, plots.stderr
    page = (project / "plots" / "index.html").read_text()
    for title in (
        "Validation loss by round",
        "ROC curve",
        "Precision and recall",
        "Calibration",
        "Importance of features",
    ):
        assert title in page


def test_repro_trains_again_from_features_when_a_training_param_changes(project: Path) -> None:
    done = _dvc(project, "exp", "run", "--temp", "--set-param", "train.max_depth=6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Running stage 'train'" in done.stdout
    for earlier in ("collect@2013-03", "validate", "features"):
        assert f"Running stage '{earlier}'" not in done.stdout


def test_repro_stops_before_training_when_a_month_is_bad(project: Path, tmp_path: Path) -> None:
    sliced.copy_project(tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("rows: [20000, 40000]", "rows: [29000, 40000]"))
    with pytest.raises(subprocess.CalledProcessError):
        sliced.repro(tmp_path)
    assert (tmp_path / "reports" / "validation.json").exists()
    assert not (tmp_path / "data" / "features").exists()
    assert not (tmp_path / "models").exists()
