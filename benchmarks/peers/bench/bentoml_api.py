"""BentoML's own API with its defaults, as in its tutorial, around the same XGBoost model. In the environment `bench`.

Model, types and scoring are those of `fastapi_app`, whose settings it takes.
"""

import bentoml

from benchmarks.peers.bench import fastapi_app
from benchmarks.peers.bench.fastapi_app import LABELS, THRESHOLD, Prediction, Response


@bentoml.service(name="peer")
class Peer:
    """A service by BentoML's own API."""

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: list[fastapi_app.Row]) -> Response:
        """Score the rows."""
        probabilities = fastapi_app.score([row.model_dump() for row in rows])
        return Response(
            predictions=[Prediction(probability=value, label=LABELS[value >= THRESHOLD]) for value in probabilities]
        )
