"""The same XGBoost model as a custom runtime of MLServer, at its best: the caller sends the encoded row as one FP32 tensor.

`implementation` of a model-settings.json, in the environment `mlserver`; PEER_MODEL is the directory with model.ubj.
"""

from __future__ import annotations

import os
from pathlib import Path

import xgboost  # noqa: TID253  # as the tutorials of MLServer do
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Booster(MLModel):  # type: ignore[misc]  # mlserver is not typed everywhere
    """The model as a runtime of MLServer."""

    async def load(self) -> bool:
        """Load the model."""
        model = Path(os.environ["PEER_MODEL"]) / "model.ubj"
        self._booster = xgboost.Booster({"nthread": 1}, model_file=model)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score one tensor of encoded rows."""
        scores = self._booster.inplace_predict(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name, model_version=self.version, outputs=[NumpyCodec.encode_output("probability", scores)]
        )
