"""The order of runs: the weight and the pool that a task gets from its run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def plugins() -> None:
    from airflow import settings

    settings.prepare_syspath_for_config_and_plugins()


def task_of(run_type: str, key: str | None, conf: dict[str, str] | None = None, weight: int = 7) -> Any:
    from run_order import task_instance_mutation_hook

    task = SimpleNamespace(priority_weight=weight, pool="default_pool")
    run = SimpleNamespace(run_type=run_type, partition_key=key, conf=conf)
    for _ in range(2):  # the scheduler applies it again when a DAG has changed
        task_instance_mutation_hook(task, dag_run=run)
    return task


def test_newest_month_is_first_and_a_backfill_last() -> None:
    runs = [
        task_of("manual", None),
        task_of("manual", None, {"through": "2014-01"}),
        task_of("scheduled", "2013-12"),
        task_of("asset_triggered", "2013-02", weight=900),
        task_of("backfill", "2014-02"),
    ]
    weights = [task.priority_weight for task in runs]
    assert weights == sorted(weights, reverse=True)
    assert len(set(weights)) == len(runs)
    assert max(weights) < 2**31  # the database's column
    assert [task.pool for task in runs] == ["default_pool"] * 4 + ["backfills"]


def test_tasks_of_one_run_keep_their_order() -> None:
    first, second = (task_of("scheduled", "2013-12", weight=weight).priority_weight for weight in (6, 5))
    assert first > second


@pytest.mark.parametrize("key", ["", "x", "2013-", "-05"])
def test_key_that_is_no_month_is_ordered_too(key: str) -> None:
    assert task_of("manual", key).priority_weight > task_of("scheduled", "2999-12").priority_weight


def test_airflow_has_the_policy() -> None:
    from airflow.settings import get_policy_plugin_manager, task_instance_mutation_hook

    assert not task_instance_mutation_hook.is_noop
    assert get_policy_plugin_manager().hook.task_instance_mutation_hook.get_hookimpls()
