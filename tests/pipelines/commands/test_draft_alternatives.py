"""Every other answer that a draft offers is whole: put in its place, it is valid, and the stages run on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML

from pipelines import __main__ as command
from pipelines.params.params import Params
from pipelines.stages.collect import stage as collect
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.stages.validate import stage as validate

ROWS = 2_400


def _calls(draw: np.random.Generator) -> pl.DataFrame:
    """Calls of a bank: a length that is known afterwards, -1 for never called, codes, a word among numbers, a row twice."""
    length, days = draw.gamma(1, 250, ROWS), np.where(draw.random(ROWS) < 0.7, -1, draw.integers(1, 800, ROWS))
    said = draw.random(ROWS) < 1 / (1 + np.exp(3 - 0.008 * length - (days > 0)))
    table = pl.DataFrame(
        {
            "client_id": draw.choice(draw.integers(10**9, 10**10, 900), ROWS),
            "duration": length.round(1),
            "pdays": days,
            "region": draw.integers(1, 7, ROWS),
            "zone": draw.integers(1, 7, ROWS),
            "score": [str(value) if value < 30 else "n.k." for value in draw.integers(0, 31, ROWS)],
            "zip": [f"{value:05}" for value in draw.choice(np.arange(501, 90_000, 2_231), ROWS)],
            "twin": [f"t{value}" for value in days // 50],
            "agent": [f"agent {value}" for value in draw.zipf(1.5, ROWS) % 1_200],
            "outcome": np.where(said, "sold", "open"),
        }
    )
    return pl.concat([table.with_columns(zone="region"), table[:1]])


def _events(draw: np.random.Generator) -> pl.DataFrame:
    """Three months, the last one under way: a second time, whose day and month can be swapped, a leak of its own, and weights that
    are missing where it gets late.
    """
    at = [datetime(2024, 1, 1) + timedelta(minutes=55 * row) for row in range(ROWS)]
    late = draw.random(ROWS) < np.array([0.2 + 0.4 * (time.hour > 15) for time in at])
    return pl.DataFrame(
        {
            "at": [time.isoformat() for time in at],
            "booked": [f"{draw.integers(1, 12):02}/{draw.integers(1, 12):02}/2023" for _ in at],
            "weight": np.where(draw.random(ROWS) < np.where(late, 0.3, 0.1), None, draw.gamma(2, 3, ROWS)).tolist(),
            "known_late": np.where(draw.random(ROWS) < 0.006, ~late, late).astype(int),
            "outcome": np.where(late, "late", "kept"),
        }
    )


def _prices(draw: np.random.Generator) -> pl.DataFrame:
    """A number to predict that is few numbers, and one that is the sum of two columns."""
    a, b = draw.integers(1, 4, ROWS), draw.integers(1, 4, ROWS)
    return pl.DataFrame({"a": a, "b": b, "outcome": a + b + draw.integers(0, 2, ROWS)})


def _sums(draw: np.random.Generator) -> pl.DataFrame:
    a, b = draw.gamma(2, 30, ROWS).round(), draw.gamma(2, 30, ROWS).round()
    return pl.DataFrame({"a": a, "b": b, "size": a + draw.gamma(2, 30, ROWS).round(2), "outcome": a + b})


TABLES = {"calls": (_calls, []), "events": (_events, ["--time", "at"]), "prices": (_prices, []), "sums": (_sums, [])}


def _others(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """By question, the lines under it as they stand in the comment."""
    question = ""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("# ? "):
            if found:
                yield question, found
            question, found = line, {}
        elif match := re.fullmatch(r"#     ([\w.-]+): ?(.*)", line):
            found[match[1]] = YAML(typ="safe").load(match[2]) if match[2] else None
    if found:
        yield question, found


def _applied(raw: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    changed = deepcopy(raw)
    for key, value in other.items():
        *sections, name = key.split(".")
        place = changed
        for section in sections:
            place = place[section]
        if value is None:
            del place[name]
        else:
            place[name] = value
    return changed


def _run(raw: dict[str, Any]) -> Params:
    """From collect to screen, by which all that params.yaml declares has met the table."""
    params = Params.model_validate(raw)
    for month in params.data.months:
        collect.run(params, month)
    for stage in (validate, features, screen):
        stage.run(params)
    return params


@pytest.mark.parametrize("name", TABLES)
def test_draft_and_each_of_its_other_answers_run(workspace: Path, name: str) -> None:
    make, options = TABLES[name]
    make(np.random.default_rng(11)).write_csv("t.csv")
    assert command.main(["draft", "t.csv", "--target", "outcome", "--out", "params.yaml", *options]) == 0
    text = Path("params.yaml").read_text()
    raw = YAML(typ="safe").load(text)
    train.run(_run(raw))
    others = dict(_others(text))
    for other in others.values():
        _run(_applied(raw, other))  # about a second each, most of it Great Expectations'
    assert len(others) >= 2
    assert len(others) == text.count("Then:\n") + text.count("not:\n")
