"""The interface of a family of models: a module with these functions, listed in `pipelines.models.families.registry`."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from pipelines.data.training import Matrix as Matrix
from pipelines.data.training import Rows as Rows
from pipelines.models.rounds import Watch


class Family(Protocol):
    """A family of models. A model is whatever `train` returns; the other functions take it back.

    Attributes:
        TOLERANCE: largest difference between export and library (`pipelines.models.export`).
    """

    TOLERANCE: float

    def train(
        self, rows: Rows, settings: Any, schema: FeatureSchema, watch: Watch = ..., /
    ) -> tuple[Any, dict[str, Any]]:
        """Return the model, and its entries in `training.json`. The same rows before the hold-out give the same model.

        Other code reads `rounds`, `validation_…` with the name of a measure, and `splits`: 0 is a model that learned nothing.

        Args:
            settings: `train` of `params.yaml`, the family's own model of `pipelines.params.train`.
            watch: is told of each round, if the family has rounds.
        """

    def to_onnx(self, model: Any, schema: FeatureSchema) -> bytes:
        """Return the ONNX model: float32 rows × features, NaN for missing, to float32 rows × scores. Equal models give equal bytes."""

    def scores(self, model: Any, matrix: Matrix, schema: FeatureSchema) -> NDArray[Any]:
        """Return the scores of the library itself, in the shapes of `contract.model.predictor.Predictor.score_matrix`."""

    def importance(self, model: Any, rows: Rows, schema: FeatureSchema) -> dict[str, float]:
        """Return each feature's share of the family's `importance_of`, in [0, 1]."""

    def files(self, model: Any) -> dict[str, bytes]:
        """Return the files that the library itself can read, by name; no pickle is among them."""


class CalibratableFamily(Family, Protocol):
    """A family whose models `pipelines.models.calibrated` can calibrate, and the stage `tune` compare."""

    def unseen(self, rows: Rows, settings: Any, schema: FeatureSchema, watch: Watch = ..., /) -> Any:
        """Return the model of `train` before the validation rows join: they have stopped it, and it has not learned from them."""

    def margins(self, model: Any, matrix: Matrix, schema: FeatureSchema) -> NDArray[Any]:
        """Return `MARGINS` of the ONNX model by the library itself, in the shape of the scores."""
