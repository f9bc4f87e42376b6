"""`python -m tests.pipelines.train.another_processor DIRECTORY THREADS`: the stages from `features` to `evaluate`.

They run for each task, for each family of models and for each calibration, in a directory of that name; DIRECTORY/hard has linear models
of numbers that nearly repeat each other and of rare categories, which a solver takes long for. Prints the kernels of the BLAS libraries
that are loaded in the end.
"""

from __future__ import annotations

import os
import sys
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy._core._multiarray_umath import __cpu_features__
from threadpoolctl import threadpool_info

from contract.errors import ModelRejectedError
from contract.files import write_atomically
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines import paths
from pipelines.data import tables
from pipelines.models.families import linear
from pipelines.params.params import Params
from pipelines.params.train import FAMILIES
from pipelines.stages.champion import stage as champion
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from tests.pipelines.conftest import RAW

ROWS = 3_000
TARGETS: dict[str, dict[str, Any]] = {
    "binary": {"column": "late", "task": "binary", "labels": ["no", "yes"]},
    "multiclass": {"column": "colour", "task": "multiclass", "labels": ["red", "green", "blue"]},
    "regression": {"column": "price", "task": "regression"},
}
CALIBRATIONS = ("sigmoid", "isotonic", "temperature")
COLUMNS = {
    "shop": {"kind": "category"},
    "width": {"kind": "number"},
    "height": {"kind": "number", "required": False},
    "year": {"kind": "number"},
    "nearly_width": {"kind": "number"},
    "empty": {"kind": "number", "required": False},
}


def main(directory: Path, threads: int) -> None:
    draw = np.random.default_rng(5)
    width, height, shop = draw.uniform(0, 100, ROWS), draw.gamma(2, 30, ROWS), draw.integers(0, 30, ROWS)
    effect = 0.03 * width + 3.0 * ((width > 50) == (height > 60)) + shop % 3 + draw.normal(0, 1, ROWS)
    table = pl.DataFrame(
        {
            "shop": [f"shop {number}" for number in shop],
            "width": width,
            "height": [None if gap else value for value, gap in zip(height, draw.random(ROWS) < 0.1, strict=True)],
            "year": 1950.0 + draw.integers(0, 70, ROWS),
            "nearly_width": width + draw.normal(0, 0.01, ROWS),
            "empty": pl.Series([None] * ROWS, dtype=pl.Float64),
            "late": np.where(effect > 4, "yes", "no"),
            "colour": np.array(TARGETS["multiclass"]["labels"])[np.digitize(effect, [3, 5])],
            "price": 300 * effect,
        }
    )
    settings = RAW["train"] | {"threads": threads}
    runs = {task: (target, settings) for task, target in TARGETS.items()}
    runs |= {name: (TARGETS["binary"], {"family": name, **_allowed(settings, name)}) for name in FAMILIES}
    runs |= {name: (TARGETS["binary"], settings | {"calibration": name}) for name in CALIBRATIONS}
    for name, (target, train_settings) in runs.items():
        place = directory / name
        place.mkdir(parents=True)
        with chdir(place):
            _run(table, target, train_settings)
    _hard_linear_models(directory / "hard")
    print(sorted({str(library.get("architecture")) for library in threadpool_info()}))


def has_avx512() -> bool:
    """Return whether this processor has the instructions of OpenBLAS's widest kernel."""
    return "X86_V4" in [name for name, found in __cpu_features__.items() if found]


def _allowed(settings: dict[str, Any], family: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in FAMILIES[family].model_fields}


def _run(table: pl.DataFrame, target: dict[str, Any], train_settings: dict[str, Any]) -> None:
    data = {"source": RAW["data"]["source"], "months": ["all"], "columns": COLUMNS}
    used = {name: {"transform": "category" if name == "shop" else "value"} for name in COLUMNS}
    if target["task"] == "regression":
        del used["shop"]  # numbers alone take another way through scikit-learn
    changes = {
        "data": data,
        "target": target,
        "features": used,
        "split": {"kind": "stratified"},
        "train": train_settings,
    }
    params = Params.model_validate(RAW | changes | {"evaluate": {"bootstrap": 500, "slices": [{"column": "shop"}]}})
    os.environ["BULKHEAD_STORE"] = str(Path("store").resolve())
    tables.write(table.select([*COLUMNS, target["column"]]), paths.accepted("all"))
    with suppress(ModelRejectedError):  # a verdict, too, is an output
        for stage in (features, screen, train, champion, evaluate):
            stage.run(params)


def _hard_linear_models(directory: Path) -> None:
    draw = np.random.default_rng(5)
    rows, categories = 20_000, 120
    codes = np.minimum(draw.geometric(0.05, (rows, 2)), categories - 1)
    numbers = draw.normal(size=(rows, 3))
    numbers[:, 1] = numbers[:, 0] + 0.01 * numbers[:, 1]
    effect = 2 * numbers[:, 0] + codes[:, 0] % 3 - codes[:, 1] % 5 * 0.5 + draw.normal(size=rows)
    outcomes = {"binary": (effect > 0) * 1, "multiclass": np.digitize(effect, [-1, 1]), "regression": 100 * effect}
    names = [f"f{index}" for index in range(5)]
    known = {"categories": [str(code) for code in range(categories)]}
    described = [("category", known)] * 2 + [("value", {})] * 3
    used = tuple(Feature(name, kind, (name,), more) for name, (kind, more) in zip(names, described, strict=True))
    for task, target in TARGETS.items():
        labels = tuple(target.get("labels", ()))
        schema = FeatureSchema("m", task, Target("y", labels), tuple(Field(name, "number") for name in names), used)
        model = linear.fit(np.hstack([codes, numbers]).astype(np.float32), outcomes[task], schema)
        write_atomically(directory / f"{task}.onnx", linear.to_onnx(model, schema))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
