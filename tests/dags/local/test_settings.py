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


def test_no_place_is_left_to_a_default_below_the_home(settings: dict[str, str]) -> None:
    """Airflow puts its home into none of them where the home's path has a percent sign."""
    from airflow.configuration import conf

    known = conf.configuration_description
    options = [(section, key, option) for section in known for key, option in known[section]["options"].items()]
    below = {
        f"AIRFLOW__{section}__{key}".upper()
        for section, key, option in options
        if "{AIRFLOW_HOME}" in str(option["default"])
    }
    assert below - {"AIRFLOW__FAB__CONFIG_FILE"} <= settings.keys()


def test_tasks_of_a_scheduler_that_has_died_are_tried_again_soon_and_those_of_one_that_stalls_are_not(
    settings: dict[str, str],
) -> None:
    """It counts as dead when it has not beaten for so long, by its own check too, which would reset the tasks that it runs."""
    from airflow.configuration import conf

    names = ("scheduler_health_check_threshold", "orphaned_tasks_check_interval")
    silent, between = (conf.getfloat("scheduler", name) for name in names)
    assert silent >= 120
    assert silent + between <= 150
