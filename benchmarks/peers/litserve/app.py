"""The same XGBoost model behind LitServe: python -m benchmarks.peers.litserve.app PORT (environment `litserve`)

PEER_MODEL is the directory with model.ubj and schema.json. One worker, and its log at warnings.
Annotations are not postponed here: LitServe reads them for the type of the request.
"""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import litserve
import xgboost  # noqa: TID253  # as the tutorials of LitServe do

from benchmarks.peers.bench import encoding

DIRECTORY = Path(os.environ["PEER_MODEL"])


class Predictor(litserve.LitAPI):  # type: ignore[misc]  # litserve is not typed everywhere
    """The model behind LitServe's API."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # its interface
        """Load the model."""
        schema = json.loads((DIRECTORY / "schema.json").read_bytes())
        self._target = schema["target"]
        self._kinds = {field["name"]: field["kind"] for field in schema["fields"]}
        self._encode = encoding.lean_encoder(schema)
        self._booster = xgboost.Booster({"nthread": 1}, model_file=DIRECTORY / "model.ubj")

    def decode_request(self, request: dict[str, Any]) -> Any:
        """Return a row as the model's matrix."""
        return self._encode(
            [{name: self._value(name, row.get(name)) for name in self._kinds} for row in request["rows"]]
        )

    def _value(self, name: str, value: Any) -> Any:
        is_time = value is not None and self._kinds[name] == "timestamp"
        return datetime.fromisoformat(value) if is_time else value

    def predict(self, x: Any) -> list[float]:
        """Score the matrix."""
        scores: list[float] = self._booster.inplace_predict(x).tolist()
        return scores

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        """Return the response's JSON."""
        labels, threshold = self._target["labels"], self._target["threshold"]
        return {"predictions": [{"probability": value, "label": labels[value >= threshold]} for value in output]}


if __name__ == "__main__":
    server = litserve.LitServer(Predictor(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
