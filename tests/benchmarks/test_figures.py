"""Ratios, bars, percentiles, the table and the results file, against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.measures import percentile
from benchmarks.results import Bar, Figure, figure, merged, number, table, write
from harness import PROJECT


def made(name: str = "speed", value: float = 30.0, bar: Bar | None = None) -> Figure:
    return figure(name, value, "ms", peer="the peer", peer_value=20.0, benchmark="http", bar=bar)


@pytest.mark.parametrize(
    ("sample", "share", "expected"),
    [
        ([15, 20, 35, 40, 50], 0.05, 15),  # nearest rank, as in the textbook: ceil(0.05 · 5) = 1st
        ([15, 20, 35, 40, 50], 0.30, 20),
        ([15, 20, 35, 40, 50], 0.40, 20),
        ([15, 20, 35, 40, 50], 0.50, 35),
        ([50, 15, 40, 20, 35], 1.00, 50),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 1001)), 0.99, 990),
        ([7], 0.01, 7),
    ],
)
def test_percentile_is_the_nearest_rank(sample: list[float], share: float, expected: float) -> None:
    assert percentile(sample, share) == expected


@pytest.mark.parametrize(("sample", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_percentile_refuses_what_has_no_meaning(sample: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(sample, share)


def test_ratio_is_ours_over_the_peers() -> None:
    made_figure = made()
    assert made_figure.ratio == 1.5
    assert made_figure.against == "the peer: 20 ms"
    assert (made_figure.bar, made_figure.holds) == (None, None)
    assert made_figure.command == ".venv/pipeline/bin/python -m benchmarks http"


@pytest.mark.parametrize(
    ("bar", "text", "holds"),
    [
        (Bar("≤", 1.5), "≤ 1.5×", True),
        (Bar("≤", 1.4), "≤ 1.4×", False),
        (Bar("≥", 2), "≥ 2×", False),
        (Bar("≥", 1.5), "≥ 1.5×", True),
        (Bar("≤", 29, of="value"), "≤ 29 ms", False),
        (Bar("≥", 29, of="value"), "≥ 29 ms", True),
    ],
)
def test_bar_is_on_the_ratio_or_on_the_value(bar: Bar, text: str, holds: bool) -> None:
    judged = made(bar=bar)
    assert (judged.bar, judged.holds) == (text, holds)


@pytest.mark.parametrize("peer_value", [0.0, -1.0, float("nan")])
def test_there_is_no_ratio_to_a_peer_that_measured_nothing(peer_value: float) -> None:
    with pytest.raises(ValueError, match="no ratio"):
        figure("speed", 1.0, "s", peer="the peer", peer_value=peer_value, benchmark="http")


def test_numbers_keep_three_digits() -> None:
    assert [number(value) for value in (0.12345, 1.0, 99.94, 123.4, 35055.2)] == ["0.123", "1", "99.9", "123", "35,055"]


def test_table_shows_what_does_not_hold() -> None:
    lines = table([made(), made("slow", 50, Bar("≤", 2))]).splitlines()
    assert [line.split()[0] for line in lines] == ["figure", "speed", "slow"]
    assert "1.50×" in lines[1]
    assert lines[2].endswith("NO")
    assert len({line.index("the peer") for line in lines[1:]}) == 1


def test_merged_puts_a_new_measurement_in_the_place_of_the_old_one() -> None:
    stored = [{"name": "speed", "value": 1.0}, {"name": "other", "value": 2.0}]
    combined = merged(stored, [made("new"), made("speed", 40)])
    assert [(entry["name"], entry["value"]) for entry in combined] == [("speed", 40), ("other", 2.0), ("new", 30.0)]


def test_results_file_has_the_keys_that_outsiders_rely_on(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write([made("first"), made("second")], keep_others=False, path=path)
    write([made("second", 10)], keep_others=True, path=path)
    stored = json.loads(path.read_bytes())
    assert [(entry["name"], entry["value"]) for entry in stored] == [("first", 30.0), ("second", 10)]
    assert all(
        set(entry) == {"name", "value", "unit", "against", "ratio", "bar", "holds", "command"} for entry in stored
    )
    write([made("third")], keep_others=False, path=path)
    assert [entry["name"] for entry in json.loads(path.read_bytes())] == ["third"]


def test_results_are_written_where_the_design_says() -> None:
    assert PROJECT / "benchmarks/results.json" == results.FILE
