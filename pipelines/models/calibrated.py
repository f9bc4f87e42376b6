"""Any family of models with a calibrator behind its margins: a family too."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data.training import Part
from pipelines.models.calibration import Calibrator, fit
from pipelines.models.family import ALONE, CalibratableFamily, Family, Matrix, Rows, Session
from pipelines.models.graph import with_calibrator


def calibrated(family: CalibratableFamily, method: str) -> Family:
    """Return the family with this calibration; the family itself for `none`."""
    return family if method == "none" else _CalibratedFamily(family, method)


class _Calibrated(NamedTuple):
    model: Any
    uncalibrated: bytes  # ONNX
    calibrator: Calibrator


class _CalibratedFamily:
    def __init__(self, family: CalibratableFamily, method: str) -> None:
        self.TOLERANCE = family.TOLERANCE
        self._family = family
        self._method = method

    def train(
        self, rows: Rows, settings: Any, schema: FeatureSchema, session: Session = ALONE
    ) -> tuple[_Calibrated, dict[str, Any]]:
        """Return the model of all rows with the calibrator of the unseen one; see `pipelines.models.calibration`."""
        model, entries = self._family.train(rows, settings, schema, session)
        unseen = self._family.unseen(rows, settings, schema, session)
        held = [
            (self._family.margins(unseen, batch.matrix, schema), batch.outcomes)
            for batch in rows.batches(Part.VALIDATION)
        ]
        margins, outcomes = (np.concatenate(parts) for parts in zip(*held, strict=True))
        calibrator = fit(self._method, margins, outcomes, schema.target)
        uncalibrated = self._family.to_onnx(model, schema)
        return _Calibrated(model, uncalibrated, calibrator), entries | {
            "calibration": {"method": self._method} | calibrator.told
        }

    def to_onnx(self, model: _Calibrated, _schema: FeatureSchema) -> bytes:
        """Return the ONNX model with the calibrator's nodes."""
        return with_calibrator(model.uncalibrated, *model.calibrator.nodes(), model.calibrator.link)

    def scores(self, model: _Calibrated, matrix: Matrix, schema: FeatureSchema) -> NDArray[Any]:
        """Return the probabilities of the libraries: the family's margins, calibrated by SciPy or scikit-learn."""
        return model.calibrator.probabilities(self._family.margins(model.model, matrix, schema))

    def importance(self, model: _Calibrated, rows: Rows, schema: FeatureSchema) -> dict[str, float]:
        """Return the importance of the features, which no calibration changes."""
        return self._family.importance(model.model, rows, schema)

    def files(self, model: _Calibrated) -> dict[str, bytes]:
        """Return the files of the family, which know of no calibration, and the ONNX model without it, for `evaluate`."""
        return self._family.files(model.model) | {paths.UNCALIBRATED.name: model.uncalibrated}
