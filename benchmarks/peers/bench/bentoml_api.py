"""BentoML's own API with its defaults, as its tutorial has it, around the same XGBoost model. In the environment `bench`.

Model, types and scoring are those of `fastapi_app`, whose settings it takes.
"""

import bentoml

from benchmarks.peers.bench import fastapi_app
from benchmarks.peers.bench.fastapi_app import LABELS, THRESHOLD, Prediction, Response


@bentoml.service(name="peer")
class Peer:
    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: list[fastapi_app.Row]) -> Response:
        probabilities = fastapi_app.score([row.model_dump() for row in rows])
        return Response(
            predictions=[Prediction(probability=value, label=LABELS[value >= THRESHOLD]) for value in probabilities]
        )
