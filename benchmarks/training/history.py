"""The gain of each group of history features on the flights: ROC-AUC on two hold-outs, with one group more at a time.

python -m benchmarks.training.history MONTH      (pipeline environment; where the features of the months up to this one lie)

Each model has the settings of `params.yaml`: early stopping on the month before the hold-out, then all months before it; unexported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.results import Bar, Figure, figure
from harness import PROJECT, workspaces

PARAMS: dict[str, Any] = yaml.safe_load((PROJECT / "params.yaml").read_text())
# Hold-out, and the ROC-AUC that it asks for.
HOLDOUTS = {"2013-10": 0.75, "2013-12": 0.77}
WITHOUT = "none"
# The group of a feature: the first of these columns that it is grouped by.
GROUPS = {"tailnum": "aircraft", "dest": "destination", "carrier": "carrier", "origin": "airport"}
FOUR_WEEKS = "28d"
Matrix = NDArray[np.float32]


def history() -> list[Figure]:
    """Measure the groups in the order of `params.yaml`; each model keeps the groups before."""
    figures = []
    for month, least in HOLDOUTS.items():
        months = [each for each in PARAMS["data"]["months"] if each <= month]
        workspace = workspaces.copied("history", {"data": {"months": months}})
        workspace.run("dvc", "repro", "features")
        _, said = workspace.say("python", "-m", "benchmarks.training.history", month)
        areas: dict[str, float] = json.loads(said.splitlines()[-1])
        for before, group in pairwise(areas):
            is_last = group == list(areas)[-1]
            figures.append(
                figure(
                    f"history_{month[-2:]}_{group}",
                    areas[group],
                    "ROC-AUC",
                    peer="without it",
                    peer_value=areas[before],
                    benchmark="history",
                    bar=Bar("≥", least, of="value") if is_last else None,
                )
            )
    return figures


def grouped(features: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the names of the features by group; the first group reads no history."""
    groups: dict[str, list[str]] = {WITHOUT: []}
    for name, feature in features.items():
        groups.setdefault(_group(feature), []).append(name)
    return groups


def _group(feature: Mapping[str, Any]) -> str:
    if feature["transform"] != "history":
        return WITHOUT
    if feature["window"] == FOUR_WEEKS:
        return "four_weeks"
    return next((group for column, group in GROUPS.items() if column in feature.get("by", ())), "network")


def areas(month: str) -> dict[str, float]:
    """Return the ROC-AUC on a month by the last group of features that the model reads."""
    from sklearn.metrics import roc_auc_score

    from contract.model.encoder import Encoder
    from contract.schema.schema import FILE_NAME, FeatureSchema
    from pipelines import paths
    from pipelines.data import tables
    from pipelines.data.history import accepted
    from pipelines.data.training import Rows
    from pipelines.params import file as params_file

    schema = FeatureSchema.from_bytes((paths.FEATURES / FILE_NAME).read_bytes())
    rows, target = Rows(paths.TRAINING_ROWS), params_file.load().target
    held = accepted.read([month]).drop_nulls(target.column)
    shown = Encoder(schema).encode_table(tables.columns_of(held, [field.name for field in schema.fields]))
    outcomes = tables.outcomes(held, target).to_numpy()
    found, read = {}, []
    for group, names in grouped(PARAMS["features"]).items():
        read += [schema.feature_names.index(name) for name in names]
        scores = _scores(rows.matrix[:, read], rows.outcomes, rows.is_validation, shown[:, read])
        found[group] = float(roc_auc_score(outcomes, scores))
    return found


def _scores(matrix: Matrix, outcomes: NDArray[Any], is_validation: NDArray[np.bool_], shown: Matrix) -> Matrix:
    import xgboost

    asked = PARAMS["train"]
    names = ("seed", "max_depth", "learning_rate", "min_child_weight", "subsample", "colsample_bytree")
    settings = {"objective": "binary:logistic", "eval_metric": "logloss", "nthread": asked["threads"]}
    settings |= {name: asked[name] for name in names}
    learned = xgboost.QuantileDMatrix(matrix[~is_validation], outcomes[~is_validation])
    held = xgboost.QuantileDMatrix(matrix[is_validation], outcomes[is_validation], ref=learned)
    stopped = xgboost.train(
        settings,
        learned,
        asked["max_rounds"],
        evals=[(held, "validation")],
        early_stopping_rounds=asked["early_stopping_rounds"],
        verbose_eval=False,
    )
    booster = xgboost.train(settings, xgboost.QuantileDMatrix(matrix, outcomes), stopped.best_iteration + 1)
    scores: Matrix = booster.inplace_predict(shown)
    return scores


def main(arguments: Sequence[str]) -> None:
    """Print the areas of a month as JSON."""
    print(json.dumps(areas(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
