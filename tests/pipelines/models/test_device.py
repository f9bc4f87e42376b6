"""A GPU that is not there stops the training; XGBoost itself warns, and trains on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from pipelines.models import device
from pipelines.params.params import Params
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as training
from tests.pipelines.conftest import write_months


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The full wheel, as far as XGBoost says which one it is: this machine may lack it, and has no GPU to rely on."""
    import xgboost

    probe = device._without_gpu
    probe.cache_clear()
    yield lambda has_gpus: monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": has_gpus})
    probe.cache_clear()


@pytest.mark.parametrize("family", ["gbtree", "forest"])
def test_training_stops_when_the_wheel_knows_no_gpu(
    workspace: Path, raw: dict[str, Any], wheel: Any, family: str
) -> None:
    wheel(False)
    raw["train"] = {"family": family, "seed": 1, "device": "cuda"}
    params = Params.model_validate(raw)
    write_months(workspace)
    features.run(params)
    with pytest.raises(
        ConfigurationError, match=r"^train.device: cuda, but .*pipeline-gpu.txt: make … GPU=1.; allowed here: cpu$"
    ) as caught:
        training.run(params)
    assert caught.value.exit_code == EXIT_CONFIGURATION


def test_training_stops_when_xgboost_falls_back_to_the_cpu(wheel: Any) -> None:
    wheel(True)
    if shutil.which("nvidia-smi"):
        pytest.skip("there may be a GPU")
    with pytest.raises(ConfigurationError, match="XGBoost sees no GPU on this machine"):
        device.available("cuda")


def test_cpu_is_never_probed(wheel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_without_gpu", lambda: pytest.fail("it was"))
    assert device.available("cpu") == "cpu"


def test_lock_of_the_environment_goes_by_the_device(raw: dict[str, Any]) -> None:
    assert Params.model_validate(raw).train.lock == "requirements/pipeline.txt"
    raw["train"]["device"] = "cuda"
    assert Params.model_validate(raw).train.lock == "requirements/pipeline-gpu.txt"
