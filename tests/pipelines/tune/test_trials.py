"""One trial, of any family and objective that has a space to search; and processes that are killed."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import UnavailableError
from pipelines.params.target import TargetParams
from pipelines.params.train import FAMILIES as SETTINGS
from pipelines.stages.tune.processes import started
from pipelines.stages.tune.trials import Task, groups, run
from tests.pipelines.models import toy

SMALL: dict[str, dict[str, Any]] = {"gbtree": {"max_rounds": 40}, "dart": {"max_rounds": 10}, "forest": {"trees": 20}}


@pytest.mark.parametrize(
    ("family", "objective"),
    [
        *(("gbtree", objective) for objective in toy.OBJECTIVES),
        ("dart", "logistic"),
        ("forest", "softmax"),
        ("forest", "pinball"),
    ],
)
def test_trial_has_the_losses_of_the_objective_by_group(tmp_path: Path, family: str, objective: str) -> None:
    task, own = toy.OBJECTIVES[objective]
    schema, values = toy.schema(task, **own), toy.matrix(600, 1)
    outcomes = toy.outcomes(task, values)
    rows = toy.table(tmp_path, values, outcomes)
    target = TargetParams(column="y", task=task, labels=schema.target.labels, **own)
    settings = SETTINGS[family].model_validate(
        {"family": family, "seed": 1, "threads": 1, "max_depth": 3, **SMALL[family]}
    )
    found = run(Task(settings, []), rows, schema, target)
    assert found.sums is not None
    assert len(found.sums) == 120  # without clusters in the files, each row is one
    assert run(Task(settings, []), rows, schema, target) == found
    assert np.bincount(groups(rows)).tolist() == [1] * 120
    if family == "forest":
        assert (found.curve, found.rounds) == ({}, None)
        return
    assert found.rounds is not None
    assert list(found.curve) == sorted(found.curve)
    if objective in ("logistic", "softmax", "absolute_error"):
        # XGBoost's own measure at the best round.
        assert np.mean(found.sums) <= min(found.curve.values()) + 1e-6


def test_trial_is_pruned_when_its_loss_is_above_the_median_at_the_same_step(tmp_path: Path) -> None:
    schema, values = toy.schema("binary"), toy.matrix(600, 1)
    rows = toy.table(tmp_path, values, toy.outcomes("binary", values))
    target = TargetParams(column="y", task="binary", labels=schema.target.labels)
    settings = SETTINGS["gbtree"].model_validate({"family": "gbtree", "seed": 1, "max_rounds": 60})
    better = [dict.fromkeys(range(1, 7), 0.001)] * 5
    found = run(Task(settings, better), rows, schema, target)
    assert found.sums is None
    assert found.rounds == 20  # a step is ten rounds with a rate of 0.1, and the first one is not looked at
    assert list(found.curve) == [1, 2]
    assert run(Task(settings, better[:4]), rows, schema, target).sums is not None  # too few to compare with


def test_killed_process_ends_the_search_with_what_to_do(tmp_path: Path) -> None:
    settings = SETTINGS["gbtree"].model_validate({"family": "gbtree", "seed": 1})
    target = TargetParams(column="y", task="binary", labels=("no", "yes"))
    with started(1, tmp_path, toy.schema("binary"), target) as processes:
        (child,) = multiprocessing.active_children()
        child.kill()
        child.join()
        with pytest.raises(UnavailableError, match="goes on after the finished trials"):
            list(processes.outcomes([Task(settings, [])]))
