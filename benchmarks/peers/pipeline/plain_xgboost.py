"""What `train` stands for, as plain calls: the table in memory, and `xgboost.train` with validation rows and again on all rows.

python benchmarks/peers/pipeline/plain_xgboost.py DMatrix|QuantileDMatrix SEARCHED FITTED

with the rounds of each, where params.yaml and data/features are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# As `python -m pipelines` sets it, before XGBoost is imported: spinning threads would make this side look slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl
import xgboost  # noqa: TID253 - this is a program
import yaml

PARAMS: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text())["train"]
OWN = ("seed", "max_depth", "learning_rate", "min_child_weight", "subsample", "colsample_bytree")

searched, fitted = map(int, sys.argv[2:])


def made(values: Any, outcomes: Any, like: Any = None) -> Any:
    """Return a matrix of XGBoost, of the kind that is asked for."""
    if sys.argv[1] == "DMatrix":
        return xgboost.DMatrix(values, outcomes, nthread=threads)
    return xgboost.QuantileDMatrix(values, outcomes, ref=like, nthread=threads)


table = pl.read_parquet("data/features/train/*.parquet")
matrix = np.ascontiguousarray(table.drop(pl.selectors.starts_with("__")).to_numpy(), dtype=np.float32)
labels, held = table["__label__"].to_numpy(), table["__validation__"].to_numpy()
del table
threads = PARAMS["threads"]
settings = {name: PARAMS[name] for name in OWN}
settings |= {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "nthread": threads}
learned = made(matrix[~held], labels[~held])
xgboost.train(
    settings,
    learned,
    searched,
    evals=[(made(matrix[held], labels[held], learned), "validation")],
    verbose_eval=False,
)
del learned
booster = xgboost.train(settings, made(matrix, labels), fitted)
booster.save_model("plain.ubj")
