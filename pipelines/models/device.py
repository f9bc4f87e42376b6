"""The device that grows trees: XGBoost trains on the CPU where it finds no GPU, with a warning and other bytes."""

from __future__ import annotations

import json
import warnings
from functools import cache

from contract.errors import ConfigurationError


def available(device: str) -> str:
    """Return the device, `cpu` or `cuda`, if this process can train on it.

    Raises:
        ConfigurationError: XGBoost is the wheel without GPUs, or sees none.
    """
    if device == "cuda" and (problem := _without_gpu()):
        raise ConfigurationError(f"train.device: cuda, but {problem}; allowed here: cpu")
    return device


@cache
def _without_gpu() -> str | None:
    """Return the obstacle to training on a GPU, by a training that tries; None if there is none."""
    import xgboost

    if not xgboost.build_info()["USE_CUDA"]:
        return "this environment has XGBoost's wheel without GPUs (install requirements/pipeline-gpu.txt: make … GPU=1)"
    tiny = xgboost.DMatrix([[0.0], [1.0]], [0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the very thing that is asked for
        tried = xgboost.train({"device": "cuda", "verbosity": 0}, tiny, 1)
    used = json.loads(tried.save_config())["learner"]["generic_param"]["device"]
    return None if used.startswith("cuda") else "XGBoost sees no GPU on this machine (check nvidia-smi)"
