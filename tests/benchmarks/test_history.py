"""The groups of history features whose gain is measured."""

from __future__ import annotations

from benchmarks.training import history
from harness import PROJECT
from pipelines.params import file as params_file
from pipelines.params.features.transforms import histories


def test_every_history_of_the_flights_is_in_one_group() -> None:
    groups = history.grouped(history.PARAMS["features"])
    assert list(groups) == [history.WITHOUT, "network", "airport", "carrier", "destination", "four_weeks", "aircraft"]
    named = [name for group, names in groups.items() if group != history.WITHOUT for name in names]
    assert sorted(named) == sorted(histories(params_file.load(PROJECT / "params.yaml").features))
    assert all(groups.values())
