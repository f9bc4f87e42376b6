"""The interface of a family of models: a module with these functions, listed in `pipelines.models.families.registry`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from pipelines.data.training import Matrix as Matrix
from pipelines.data.training import Rows as Rows
from pipelines.models.engines.checkpoints import Checkpoints
from pipelines.models.engines.spilled import Spill
from pipelines.models.rounds import Watch, ignored


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@dataclass(frozen=True)
class Session:
    """What a training has besides its rows and settings. None of it changes the model.

    Attributes:
        checkpoints: keeps what is reached, for a training that goes on after an interruption.
        watch: is told of each round, if the family has rounds.
        client: of a Dask cluster, for settings whose engine is `dask`; None: each pass starts or joins one.
        scratch: makes an empty directory until the end of a block, on a disk with room for the training table.
        spill: keeps the batches of a large table for the whole training; None: they are read anew each time.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    watch: Watch = ignored
    client: Any = None
    scratch: Callable[[], AbstractContextManager[Path]] = _temporary
    spill: Spill | None = None


ALONE = Session()


class Family(Protocol):
    """A family of models. A model is whatever `train` returns; the other functions take it back.

    Attributes:
        TOLERANCE: largest difference between export and library (`pipelines.models.export`).
    """

    TOLERANCE: float

    def train(
        self, rows: Rows, settings: Any, schema: FeatureSchema, session: Session = ALONE
    ) -> tuple[Any, dict[str, Any]]:
        """Return the model, and its entries in `training.json`. The same rows before the hold-out give the same model.

        Other code reads `rounds`, `validation_…` with the name of a measure, and `splits`: 0 is a model that learned nothing.

        Args:
            settings: `train` of `params.yaml`, the family's own model of `pipelines.params.train`.
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
    """A family whose models `pipelines.models.calibrated` can calibrate."""

    def unseen(self, rows: Rows, settings: Any, schema: FeatureSchema, session: Session = ALONE) -> Any:
        """Return the model of `train` before the validation rows join: they have stopped it, and it has not learned from them."""

    def margins(self, model: Any, matrix: Matrix, schema: FeatureSchema) -> NDArray[Any]:
        """Return `MARGINS` of the ONNX model by the library itself, in the shape of the scores."""
