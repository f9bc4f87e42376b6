"""The model work of `dvc repro` as bare calls, without DVC and without us; follows bare_data.py, and is run like it.

python benchmarks/peers/pipeline/bare_model.py train | evaluate | bundle   (where serving.txt, the lock of the bento, and rounds.json lie)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import yaml

Step = dict[str, Any]

PARAMS: Any = yaml.safe_load(Path("params.yaml").read_text())
FEATURES: dict[str, Any] = PARAMS["features"]
OPSET = 15


def train() -> Step:
    """Train XGBoost, watching the validation period, and again on all rows, the linear baseline, and export both to ONNX.

    The rounds are those of the pipeline, whose random numbers are others, for it begins them anew with each chunk of rounds: stopped
    by its own loss, this side would train another number.
    """
    import numpy as np
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    table = pl.read_parquet("train.parquet")
    matrix = np.ascontiguousarray(table.select(*FEATURES).to_numpy(), dtype=np.float32)
    labels, held = table["label"].to_numpy(), table["validation"].to_numpy()
    asked = PARAMS["train"]
    settings = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "nthread": asked["threads"],
    }
    settings |= {name: asked[name] for name in ("seed", "max_depth", "learning_rate", "min_child_weight")}
    settings |= {name: asked[name] for name in ("subsample", "colsample_bytree")}
    learned = xgboost.QuantileDMatrix(matrix[~held], labels[~held], nthread=asked["threads"])
    rounds = json.loads(Path("rounds.json").read_text())
    xgboost.train(
        settings,
        learned,
        min(rounds + asked["early_stopping_rounds"], asked["max_rounds"]),
        evals=[(xgboost.QuantileDMatrix(matrix[held], labels[held], ref=learned), "validation")],
        verbose_eval=False,
    )
    booster = xgboost.train(settings, xgboost.QuantileDMatrix(matrix, labels, nthread=asked["threads"]), rounds)
    shape = [("features", FloatTensorType([None, len(FEATURES)]))]
    Path("model.onnx").write_bytes(
        convert_xgboost(booster, initial_types=shape, target_opset=OPSET).SerializeToString()
    )
    Path("linear.onnx").write_bytes(_linear(matrix, labels))
    assert np.allclose(_scores("model", matrix), booster.inplace_predict(matrix), atol=1e-6)
    return {"rounds": rounds}


def _linear(matrix: Any, labels: Any) -> bytes:
    from skl2onnx import to_onnx
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    coded = [index for index, name in enumerate(FEATURES) if FEATURES[name]["transform"] == "category"]
    others = [index for index in range(len(FEATURES)) if index not in coded]
    classifier = LogisticRegression(max_iter=300)
    encode = make_pipeline(SimpleImputer(strategy="constant", fill_value=-1.0), OneHotEncoder(handle_unknown="ignore"))
    scale = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    model = make_pipeline(ColumnTransformer([("coded", encode, coded), ("others", scale, others)]), classifier)
    exported = to_onnx(
        model.fit(matrix, labels), matrix[:1], options={id(classifier): {"zipmap": False}}, target_opset=OPSET
    )
    content: bytes = exported.SerializeToString()
    return content


def evaluate() -> Step:
    """Score the exported models on the hold-out: scikit-learn's measures and curves, and four pictures."""
    import matplotlib
    import numpy as np
    from sklearn import calibration, metrics

    matplotlib.use("svg")
    from matplotlib import pyplot

    table = pl.read_parquet("holdout.parquet")
    matrix, labels = table.select(*FEATURES).to_numpy().astype(np.float32), table["label"].to_numpy()
    measured = {}
    scores = {name: _scores(name, matrix) for name in ("model", "linear")}
    for name, values in scores.items():
        measures = (metrics.roc_auc_score, metrics.average_precision_score, metrics.log_loss, metrics.brier_score_loss)
        measured[name] = {measure.__name__: float(measure(labels, values)) for measure in measures}
    Path("metrics.json").write_text(json.dumps(measured))
    share, mean = calibration.calibration_curve(labels, scores["model"], n_bins=10, strategy="quantile")
    lines = {
        "roc": metrics.roc_curve(labels, scores["model"])[:2],
        "pr": metrics.precision_recall_curve(labels, scores["model"])[:2],
        "calibration": (mean, share),
        "scores": np.histogram(scores["model"], bins=15)[::-1],
    }
    for name, (x, y) in lines.items():
        figure, axes = pyplot.subplots(figsize=(4.6, 3.4))
        axes.plot(x[-len(y) :], y)
        figure.savefig(f"{name}.svg")
    return {"roc_auc": measured["model"]["roc_auc_score"]}


def bundle() -> Step:
    """Build a bento of the model, with a service that answers with it, and the same lock."""
    service = Path("bento")
    service.mkdir()
    (service / "model.onnx").write_bytes(Path("model.onnx").read_bytes())
    (service / "requirements.txt").write_bytes(Path("serving.txt").read_bytes())
    (service / "service.py").write_text(_SERVICE)
    python = {"requirements_txt": "./requirements.txt", "lock_packages": False}
    description = {"service": "service:Predictor", "name": "bare", "include": ["*"], "python": python}
    (service / "bentofile.yaml").write_text(yaml.safe_dump(description))
    subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=service,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return {}


_SERVICE = """
import bentoml
import numpy


@bentoml.service(workers=1)
class Predictor:
    def __init__(self) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession("model.onnx")

    @bentoml.api
    def predict(self, features: numpy.ndarray) -> numpy.ndarray:
        return self.session.run(None, {"features": features.astype("float32")})[1][:, 1]
"""


def _scores(name: str, matrix: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{name}.onnx")
    return session.run(None, {session.get_inputs()[0].name: matrix})[1][:, 1]


STEPS = {step.__name__: step for step in (train, evaluate, bundle)}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]]()))
