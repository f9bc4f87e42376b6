"""What `train` stands for, as plain calls: the table in memory, `xgboost.train` with early stopping, and again on all rows.

python benchmarks/peers/pipeline/plain_xgboost.py        (where params.yaml and data/features are)
"""

from __future__ import annotations

import os
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

table = pl.read_parquet("data/features/train/*.parquet")
matrix = np.ascontiguousarray(table.drop("__label__", "__validation__").to_numpy(), dtype=np.float32)
labels, held = table["__label__"].to_numpy(), table["__validation__"].to_numpy()
del table
threads = PARAMS["threads"]
settings = {name: PARAMS[name] for name in OWN}
settings |= {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "nthread": threads}
learned = xgboost.QuantileDMatrix(matrix[~held], labels[~held], nthread=threads)
stopped = xgboost.train(
    settings,
    learned,
    PARAMS["max_rounds"],
    evals=[(xgboost.QuantileDMatrix(matrix[held], labels[held], ref=learned), "validation")],
    early_stopping_rounds=PARAMS["early_stopping_rounds"],
    verbose_eval=False,
)
rounds = stopped.best_iteration + 1
del learned
booster = xgboost.train(settings, xgboost.QuantileDMatrix(matrix, labels, nthread=threads), rounds)
booster.save_model("plain.ubj")
print(f"{rounds} rounds on {len(matrix)} rows")
