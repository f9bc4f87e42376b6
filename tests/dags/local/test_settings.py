"""The settings of Airflow's components: each is one that this version knows, and means what is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_local import site


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Those of the default choice, as this process's environment too."""
    monkeypatch.setattr(site, "HOME", tmp_path)
    found = {name: value for name, value in site.settings(site.Choice()).items() if name.startswith("AIRFLOW__")}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_every_setting_is_one_that_airflow_knows(settings: dict[str, str]) -> None:
    from airflow.configuration import conf

    known = conf.configuration_description
    for name in settings:
        _, section, key = name.lower().split("__")
        assert key in known[section]["options"], name


def test_tasks_of_a_scheduler_that_has_died_are_tried_again_within_a_minute(settings: dict[str, str]) -> None:
    """It counts as dead after the threshold; one that starts at once comes too early to find it so, and looks again."""
    from airflow.configuration import conf

    names = ("scheduler_health_check_threshold", "orphaned_tasks_check_interval")
    assert sum(conf.getfloat("scheduler", name) for name in names) <= 60
