"""The example of docs/tutorial/own-table.md, word by word, on a table of orders: from CSV files to a bundle, through params.yaml alone."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.bundle import manifest
from contract.model.predictor import Predictor
from harness import slice as sliced

DOCUMENT = (sliced.PROJECT / "docs" / "tutorial" / "own-table.md").read_text()
COURIERS = ["ada", "bo", "cy", "di"]
ROWS = 6000


def orders() -> pl.DataFrame:
    """Three months of orders; who is late depends on the courier and the hour together, which no linear model sees."""
    draw = np.random.default_rng(7)
    first, seconds = datetime(2026, 1, 1), 89 * 86_400
    at = np.sort(draw.integers(0, seconds, ROWS))
    hour, courier, weight = at // 3600 % 24, draw.integers(0, 4, ROWS), draw.gamma(2, 3, ROWS).clip(0, 50)
    busy = (hour + 6 * courier) % 24 < 8
    chance = np.where(busy, 0.75, 0.1) + np.where(weight > 10, 0.1, 0)
    return pl.DataFrame(
        {
            "order_id": [f"o-{number:06}" for number in range(ROWS)],
            "ordered_at": [(first + timedelta(seconds=int(after))).isoformat() for after in at],
            "courier": [COURIERS[code] for code in courier],
            "warehouse": draw.choice(["north", "south"], ROWS),
            "weight": weight.round(1),
            "stops": [None if draw.random() < 0.1 else int(draw.integers(1, 120)) for _ in range(ROWS)],
            "express": draw.choice(["true", "false"], ROWS),
            "outcome": np.where(draw.random(ROWS) < chance, "late", "in_time"),
        }
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("own")
    sliced.copy_project(directory)
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    (directory / "params.yaml").write_text(example)
    (directory / "orders").mkdir()
    table = orders()
    for half, rows in enumerate((table[: ROWS // 2], table[ROWS // 2 :])):
        rows.write_csv(directory / "orders" / f"part-{half}.csv")
    sliced.repro(directory)
    return directory


def test_documented_example_gives_a_bundle_that_beats_both_baselines(project: Path) -> None:
    metrics = json.loads((project / "metrics.json").read_bytes())
    assert metrics["roc_auc"] > max(scores["roc_auc"] or 0.5 for scores in metrics["against"].values()) + 0.05
    bundle = project / "build" / "bundle"
    assert manifest.verify(bundle).name == "deliveries"


def test_documented_request_is_answered(project: Path) -> None:
    (body,) = re.findall(r"-d '(\{.*?\})'\n```", DOCUMENT, re.DOTALL)
    predictor = Predictor.load(project / "build" / "bundle" / manifest.ARTIFACT)
    (answer,) = predictor.predict(json.loads(body)["rows"])
    assert answer["label"] in ("in_time", "late")
    assert answer["fallbacks"] == [{"field": "stops", "problem": "missing"}]


def test_bundle_holds_no_row_and_no_identifier_of_the_table(project: Path) -> None:
    for path in (project / "build" / "bundle").rglob("*"):
        assert path.is_dir() or b"o-0000" not in path.read_bytes(), path
