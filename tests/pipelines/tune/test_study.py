"""Trials are a function of the plan: whatever was killed, and whichever process was faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.params.train import GbtreeParams
from pipelines.params.tune import Range
from pipelines.stages.tune import journal
from pipelines.stages.tune.study import Plan, Trial, proceed
from pipelines.stages.tune.trials import Outcome, Task

SPACE = {"max_depth": Range(low=3, high=10), "learning_rate": Range(low=0.02, high=0.3, log=True)}


def _plan(trials: int, batch: int, start: dict[str, float] | None = None) -> Plan:
    settings = GbtreeParams(seed=7, max_depth=12, learning_rate=0.1)  # no search would choose this depth
    return Plan(settings, SPACE, [{}, *([start] if start else [])], trials, batch, rows=10)


class Killed(BaseException):
    """A kill, as it looks from inside."""


class Work:
    """Trials without a model: depth 6 and rate 0.1 are best, and a trial sees how many finished ones it is compared with."""

    def __init__(self, killed_after: int | None = None) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.left = killed_after

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        for task in tasks:
            if self.left == len(self.done):
                raise Killed
            settings = task.settings
            loss = abs(settings.max_depth - 6) + abs(settings.learning_rate - 0.1)
            self.done.append((settings.max_depth, settings.learning_rate, len(task.curves)))
            pruned = len(task.curves) > 3 and loss > 3
            yield Outcome({1: loss + 1, 2: loss}, None if pruned else [loss, 9 * loss], 5)


def _search(path: Path, plan: Plan, work: Work) -> list[Trial]:
    with journal.opened(path) as storage:
        study = journal.study(storage, "data", "gbtree", {})
        return proceed(study, plan, work, lambda _: None)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_search_gives_the_same_trials_when_it_was_killed_after_any_trial(tmp_path: Path, batch: int) -> None:
    plan = _plan(14, batch)
    whole = _search(tmp_path / "whole", plan, Work())
    for killed_after in range(14):
        path = tmp_path / f"killed-{killed_after}"
        with pytest.raises(Killed):
            _search(path, plan, Work(killed_after))
        work = Work()
        assert _search(path, plan, work) == whole
        assert len(work.done) == 14 - killed_after  # none is done twice
    assert any(trial.loss is None for trial in whole)


def test_search_gives_the_same_trials_when_its_journal_ends_anywhere(tmp_path: Path) -> None:
    plan, path = _plan(5, 2), tmp_path / "journal"
    whole, content = _search(path, plan, Work()), path.read_bytes()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        assert _search(path, plan, Work()) == whole
        assert path.read_bytes().count(b"\n") == len(path.read_bytes().splitlines())


def test_more_trials_go_on_after_the_finished_ones(tmp_path: Path) -> None:
    whole = _search(tmp_path / "whole", _plan(13, 2), Work())
    first = _search(tmp_path / "more", _plan(7, 2), Work())
    work = Work()
    assert _search(tmp_path / "more", _plan(13, 2), work) == whole
    assert whole[:7] == first
    assert len(work.done) == 6


def test_first_trials_have_the_defaults_and_the_start_even_outside_of_the_space(tmp_path: Path) -> None:
    work = Work()
    trials = _search(tmp_path / "journal", _plan(4, 2, {"max_depth": 6}), work)
    assert [trial.parameters for trial in trials[:2]] == [{}, {"max_depth": 6}]
    assert [done[:2] for done in work.done[:2]] == [(12, 0.1), (6, 0.1)]
    assert set(trials[2].parameters) == {"max_depth", "learning_rate"}


def test_order_of_the_space_in_the_file_does_not_matter(tmp_path: Path) -> None:
    plan = _plan(12, 2)
    turned = plan._replace(space=dict(reversed(SPACE.items())))
    assert _search(tmp_path / "one", plan, Work()) == _search(tmp_path / "other", turned, Work())


def test_batch_is_compared_with_earlier_batches_alone(tmp_path: Path) -> None:
    work = Work()
    _search(tmp_path / "journal", _plan(6, 2), work)
    assert [done[2] for done in work.done] == [0, 0, 2, 2, 4, 4]


def test_sampled_values_have_four_digits_and_are_in_the_space(tmp_path: Path) -> None:
    for trial in _search(tmp_path / "journal", _plan(30, 1), Work())[1:]:
        rate = trial.parameters["learning_rate"]
        assert rate == float(f"{rate:.4g}")
        assert all(SPACE[name].holds(value) for name, value in trial.parameters.items())


def test_next_search_starts_from_the_last_best_parameters_and_a_repeated_one_as_before(tmp_path: Path) -> None:
    with journal.opened(tmp_path / "journal") as storage:
        assert journal.start_of(storage, "january", "gbtree", SPACE) == {}
        first = journal.study(storage, "january", "gbtree", {})
        first.set_user_attr("best", {"max_depth": 5, "learning_rate": 0.5, "subsample": 0.7})
        journal.study(storage, "another", "dart", {}).set_user_attr("best", {"max_depth": 9})
    with journal.opened(tmp_path / "journal") as storage:
        # Of the best ones those that this search may choose.
        assert journal.start_of(storage, "february", "gbtree", SPACE) == {"max_depth": 5}
        assert journal.start_of(storage, "january", "gbtree", SPACE) == {}
        assert journal.start_of(storage, "february", "forest", SPACE) == {}


def test_second_search_waits_for_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    path, waiting = tmp_path / "journal", threading.Event()

    def second() -> None:
        with journal.opened(path):
            waiting.set()

    with journal.opened(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert not waiting.wait(0.2)
    thread.join()
    assert waiting.is_set()
    assert "another search is running" in capsys.readouterr().err
