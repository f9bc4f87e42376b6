"""The benchmark of model formats: what a package takes with all that it asks for, and each engine's scores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers.bench import model_formats
from pipelines.models.families.trees import booster_to_onnx


def test_installed_size_holds_what_a_package_asks_for() -> None:
    numpy_alone = model_formats.installed_bytes("numpy")
    assert 10e6 < numpy_alone < model_formats.installed_bytes("onnxruntime") < 1e9
    assert model_formats.installed_bytes("no-such-package") == 0


def test_engines_score_the_same_model_alike(tmp_path: Path) -> None:
    import xgboost

    draw = np.random.default_rng(1)
    matrix = draw.normal(0, 1, (500, 3)).astype(np.float32)
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(matrix, matrix[:, 0] > 0), 5)
    (tmp_path / "model.onnx").write_bytes(booster_to_onnx(booster, 3))
    booster.save_model(tmp_path / "model.ubj")
    np.save(tmp_path / "matrix.npy", matrix)
    for engine in ("onnx", "inplace_predict"):  # Treelite is in the environment of the benchmarks alone
        scores = tmp_path / f"{engine}.npy"
        command = [
            sys.executable,
            model_formats.__file__,
            engine,
            str(tmp_path),
            str(tmp_path / "matrix.npy"),
            str(scores),
        ]
        measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        assert min(measured.values()) > 0
        assert np.abs(np.load(scores)[:, 0] - booster.inplace_predict(matrix)).max() < 1e-6
