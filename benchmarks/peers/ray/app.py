"""The same XGBoost model behind Ray Serve: python -m benchmarks.peers.ray.app PORT DIRECTORY (environment `ray`)

PEER_MODEL is the directory with model.ubj and schema.json; DIRECTORY takes what Ray writes. One replica, no dashboard, no access log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import ray
import xgboost  # noqa: TID253  # as the tutorials of Ray do
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from benchmarks.peers.bench import encoding

DIRECTORY = Path(os.environ["PEER_MODEL"])


class Predictor:
    """The model behind Ray Serve."""

    def __init__(self) -> None:
        schema = json.loads((DIRECTORY / "schema.json").read_bytes())
        self._target = schema["target"]
        self._kinds = {field["name"]: field["kind"] for field in schema["fields"]}
        self._encode = encoding.lean_encoder(schema)
        self._booster = xgboost.Booster({"nthread": 1}, model_file=DIRECTORY / "model.ubj")

    async def __call__(self, request: Request) -> Response:
        """Score the row of a POST; answer a GET once the model is loaded. Ray sends other responses than Starlette's as chunks."""
        if request.method == "GET":
            return JSONResponse({"ready": True})
        rows = (await request.json())["rows"]
        matrix = self._encode([{name: self._value(name, row.get(name)) for name in self._kinds} for row in rows])
        labels, threshold = self._target["labels"], self._target["threshold"]
        scores: list[float] = self._booster.inplace_predict(matrix).tolist()
        predictions = [{"probability": score, "label": labels[score >= threshold]} for score in scores]
        return JSONResponse({"predictions": predictions})

    def _value(self, name: str, value: Any) -> Any:
        is_time = value is not None and self._kinds[name] == "timestamp"
        return datetime.fromisoformat(value) if is_time else value


def main(port: int, directory: str) -> None:
    """Start Ray and serve until the process ends."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False, _temp_dir=directory)
    quiet = {"enable_access_log": False}
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=quiet)
    deployment = serve.deployment(num_replicas=1, max_ongoing_requests=64, logging_config=quiet)(Predictor)
    serve.run(deployment.bind())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
