"""What is served is what was judged, bit for bit, and XGBoost's own model to a millionth; golden requests are no rows of the data."""

from __future__ import annotations

from contextlib import chdir
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from contract.model.encoder import Encoder
from contract.model.predictor import Predictor
from pipelines import paths
from pipelines.columns import golden
from pipelines.data import tables
from pipelines.params.params import Params
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as train
from tests.pipelines.conftest import RAW

LEARNED, ASKED = 5_000, 100_000
TOLERANCE = 1e-6  # in probability, or of a number as a share of the largest one
TARGETS = {
    "binary": {"column": "late", "task": "binary", "labels": ["no", "yes"]},
    "multiclass": {"column": "colour", "task": "multiclass", "labels": ["red", "green", "blue"]},
    "regression": {"column": "price", "task": "regression"},
}
COLUMNS = {
    "shop": {"kind": "category"},
    "town": {"kind": "category", "required": False},
    "at": {"kind": "timestamp"},
    "made": {"kind": "timestamp", "required": False},
    "width": {"kind": "number", "minimum": 0, "maximum": 100},
    "height": {"kind": "number", "required": False, "minimum": 0},
    "open": {"kind": "boolean", "required": False},
}
FEATURES = {
    "shop": {"transform": "category"},
    "town": {"transform": "lookup", "input": "town", "statistic": "mean", "of": "width"},
    "minute": {"transform": "calendar", "input": "at", "part": "minute_of_day"},
    "season": {"transform": "cyclic", "input": "at", "part": "day_of_year", "function": "sin"},
    "width": {"transform": "value"},
    "height": {"transform": "log"},
    "open": {"transform": "value"},
    "form": {"transform": "ratio", "inputs": ["height", "width"]},
    "over": {"transform": "difference", "inputs": ["height", "width"]},
    "area": {"transform": "product", "inputs": ["height", "width"]},
    "age": {"transform": "elapsed", "inputs": ["made", "at"], "unit": "h"},
    "no_date": {"transform": "is_missing", "input": "made"},
    "name_length": {"transform": "text_length", "input": "town"},
    "size": {"transform": "binned", "input": "width", "quantiles": 7},
    "holiday": {"transform": "holiday", "input": "at", "country": "US", "subdivision": "NY"},
}


def _rows(count: int, seed: int, *, unknown: float) -> pl.DataFrame:
    """Requests as a table; a tenth of what may be missing is, and a share of the categories is unknown."""
    draw = np.random.default_rng(seed)

    def gaps(values: NDArray[Any]) -> list[Any]:
        return [None if gap else value for value, gap in zip(values.tolist(), draw.random(count) < 0.1, strict=True)]

    def names(known: list[str]) -> NDArray[Any]:
        return np.where(draw.random(count) < unknown, "no such place", draw.choice(known, count))

    start = datetime(2025, 1, 1)
    return pl.DataFrame(
        {
            "shop": names(["east", "north", "west"]),
            "town": gaps(names([f"town {number}" for number in range(40)])),
            "at": [start + timedelta(minutes=int(after)) for after in draw.integers(0, 525_600, count)],
            "made": gaps(
                np.array([start - timedelta(seconds=int(before)) for before in draw.integers(0, 10**8, count)])
            ),
            "width": draw.uniform(0, 100, count),
            "height": gaps(draw.gamma(2, 30, count)),
            "open": gaps(draw.random(count) < 0.4),
        }
    )


def _outcomes(rows: pl.DataFrame) -> pl.DataFrame:
    draw = np.random.default_rng(3)
    wide, high = rows["width"].to_numpy() > 50, rows["height"].fill_null(0).to_numpy() > 60
    effect = 3.0 * (wide == high) + (rows["shop"] == "east").to_numpy() + draw.normal(0, 1, rows.height)
    colours = np.array(TARGETS["multiclass"]["labels"])[np.digitize(effect, [1, 3])]
    return rows.with_columns(
        late=pl.Series(np.where(effect > 2, "yes", "no")),
        colour=pl.Series(colours),
        price=pl.Series(20_000 + 9_000 * effect),
    )


@pytest.fixture(scope="module", params=TARGETS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which `train` has run, for each task."""
    target = TARGETS[request.param]
    data = {"source": RAW["data"]["source"], "months": ["all"], "columns": COLUMNS}
    split = {"kind": "stratified"}
    settings = {
        "seed": 1,
        "max_depth": 5,
        "learning_rate": 0.1,
        "max_rounds": 80,
        "early_stopping_rounds": 20,
        "threads": 1,
    }
    changes = {"data": data, "target": target, "split": split, "features": FEATURES, "train": settings, "evaluate": {}}
    params = Params.model_validate(RAW | changes)
    directory = tmp_path_factory.mktemp(request.param)
    with chdir(directory):
        table = _outcomes(_rows(LEARNED, 1, unknown=0))
        tables.write(table.select([*COLUMNS, target["column"]]), paths.accepted("all"))
        features.run(params)
        train.run(params)
    return directory


@pytest.fixture(scope="module")
def predictor(trained: Path) -> Predictor:
    return Predictor.load(trained / paths.BOOSTED)


def test_a_hundred_thousand_requests_are_answered_as_a_table_is_scored_and_as_xgboost_predicts(
    trained: Path, predictor: Predictor
) -> None:
    import xgboost

    table = _rows(ASKED, 2, unknown=0.05)
    requests = [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
            if value is not None
        }
        for row in table.to_dicts()
    ]
    encoder = Encoder(predictor.schema)
    matrix, fallbacks = encoder.encode_rows(requests)
    columns = tables.encodable(table, list(COLUMNS))
    assert matrix.tobytes() == encoder.encode_table(columns).tobytes()
    taken = {entry["problem"] for entries in fallbacks for entry in entries}
    assert taken == {"missing", "unknown category"}
    scores = predictor.score_table(columns)  # what `evaluate` does
    _require_equal(predictor, requests, scores)
    booster = xgboost.Booster(params={"nthread": 1})
    booster.load_model(trained / paths.BOOSTED / "model.ubj")
    expected = booster.predict(xgboost.DMatrix(matrix))
    largest = float(np.abs(expected).max()) if predictor.schema.task == "regression" else 1.0
    assert np.abs(expected.astype(np.float64) - scores).max() / largest <= TOLERANCE


def _require_equal(predictor: Predictor, requests: list[dict[str, Any]], scores: NDArray[np.float32]) -> None:
    """Bit for bit: in one batch, in batches of another size, and alone."""
    numbers = [_numbers(answer) for answer in predictor.predict(requests)]
    assert np.array(numbers).tobytes() == scores.astype(np.float64).reshape(len(scores), -1).tobytes()
    in_parts = [predictor.predict(requests[start : start + 7])[0] for start in range(0, 2100, 7)]
    assert [_numbers(answer) for answer in in_parts] == numbers[:2100:7]
    assert [_numbers(predictor.predict([request])[0]) for request in requests[:500]] == numbers[:500]


def _numbers(answer: dict[str, Any]) -> list[float]:
    if "probabilities" in answer:
        return list(answer["probabilities"].values())
    return [answer["probability"] if "probability" in answer else answer["value"]]


def test_golden_rows_cover_the_schema_and_are_no_rows_of_the_data(trained: Path, predictor: Predictor) -> None:
    rows = [case["row"] for case in golden.golden_cases(predictor)]
    learned = pl.read_parquet(trained / paths.TRAINING_ROWS / "*.parquet").select(list(FEATURES)).to_numpy()
    matrix, fallbacks = Encoder(predictor.schema).encode_rows(rows)
    assert not {row.tobytes() for row in learned.astype(np.float32)} & {row.tobytes() for row in matrix}
    for field in predictor.schema.fields:
        given = [row[field.name] for row in rows if row.get(field.name) is not None]
        assert (len(given) < len(rows)) == (not field.required)  # gaps where a gap may be, and nowhere else
        if field.kind == "number":
            low, high = field.minimum or 0.0, field.maximum or 100.0
            assert low <= min(given) < low + (high - low) / 4
            assert high >= max(given) > high - (high - low) / 4
        elif field.kind == "category":
            known = {"east", "north", "west"} if field.name == "shop" else {f"town {number}" for number in range(40)}
            assert golden.UNKNOWN in given
            assert set(given) - {golden.UNKNOWN} <= known
            assert len(set(given)) >= 4
        elif field.kind == "boolean":
            assert set(given) == {True, False}
    assert not fallbacks[0]
