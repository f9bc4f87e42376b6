"""`python model_formats.py ENGINE MODEL MATRIX SCORES`: load the model, score the matrix, measure; in a process of its own.

One engine and its own packages only are imported. One thread. Prints one JSON object; the scores go to the file SCORES.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Score = Callable[[Any], Any]
ROWS = {"row": (1, 3000), "rows_64": (64, 600)}  # rows of a call, and number of calls


def onnx(model: Path) -> Score:
    """Load the model in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model / "model.onnx"), options)
    given, asked = session.get_inputs()[0].name, [session.get_outputs()[-1].name]

    def score(matrix: Any) -> Any:
        (scores,) = session.run(asked, {given: matrix})
        return scores[:, 1] if scores.shape[1] == 2 else scores

    return score


def inplace_predict(model: Path) -> Score:
    """Load the model in XGBoost, to score arrays by `inplace_predict`."""
    booster = _booster(model)
    predict: Score = booster.inplace_predict
    return predict


def dmatrix(model: Path) -> Score:
    """Load the model in XGBoost, to score by `DMatrix`."""
    import xgboost

    booster = _booster(model)
    return lambda matrix: booster.predict(xgboost.DMatrix(matrix, nthread=1))


def treelite(model: Path) -> Score:
    """Load the model in Treelite's general tree inference."""
    from treelite import frontend, gtil

    forest = frontend.load_xgboost_model(model / "model.ubj")
    return lambda matrix: gtil.predict(forest, matrix, nthread=1)


def _booster(model: Path) -> Any:
    import xgboost

    booster = xgboost.Booster(params={"nthread": 1})
    booster.load_model(model / "model.ubj")
    return booster


ENGINES: dict[str, tuple[Callable[[Path], Score], str]] = {
    "onnx": (onnx, "onnxruntime"),
    "inplace_predict": (inplace_predict, "xgboost-cpu"),
    "dmatrix": (dmatrix, "xgboost-cpu"),
    "treelite": (treelite, "treelite"),
}


def installed_bytes(package: str) -> int:
    """Return the installed size of a package and all its dependencies, in bytes."""
    found: dict[str, int] = {}
    open_names = [package]
    while open_names:
        name = open_names.pop()
        try:
            package_files = metadata.distribution(name).files or ()
        except metadata.PackageNotFoundError:
            continue  # a dependency of other platforms
        if name not in found:
            paths = [Path(str(entry.locate())) for entry in package_files]
            found[name] = sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
            asked = [text for text in metadata.requires(name) or () if "extra ==" not in text]
            open_names += [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].lower() for text in asked]
    return sum(found.values())


def main(engine: str, model: Path, matrix_file: Path, scores_file: Path) -> dict[str, float]:
    """Return load time, time of a call, memory and installed size of an engine; write its scores."""
    matrix = np.load(matrix_file)
    make, package = ENGINES[engine]
    started = time.perf_counter()
    score = make(model)
    score(matrix[:1])
    measured = {"load_ms": (time.perf_counter() - started) * 1e3}  # of the import, the model, and the first row
    for name, (size, calls) in ROWS.items():
        measured[f"{name}_us"] = _median_us(score, matrix, size, calls)
    status = Path("/proc/self/status").read_text()
    measured["memory_mb"] = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
    measured["installed_mb"] = installed_bytes(package) / 1e6
    np.save(scores_file, np.asarray(score(matrix), np.float32).reshape(len(matrix), -1))
    return measured


def _median_us(score: Score, matrix: Any, size: int, calls: int) -> float:
    times = []
    for call in range(calls + 100):
        start = call * size % (len(matrix) - size)
        rows = matrix[start : start + size]
        before = time.perf_counter_ns()
        score(rows)
        times.append(time.perf_counter_ns() - before)
    return statistics.median(times[100:]) / 1e3


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(Path, sys.argv[2:]))))
