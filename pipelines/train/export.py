"""Models to ONNX, the data-only form in which they are judged and served."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelRejectedError

# Largest difference that an export may show against its own library, in probability.
TOLERANCE = 1e-6
_OPSET = 15


def booster_to_onnx(booster: Any, features: int) -> bytes:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    return _bytes(
        convert_xgboost(booster, initial_types=[("features", FloatTensorType([None, features]))], target_opset=_OPSET)
    )


def linear_to_onnx(model: Any, features: int) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    classifier = model.steps[-1][1]
    return _bytes(
        to_onnx(
            model,
            initial_types=[("features", FloatTensorType([None, features]))],
            options={id(classifier): {"zipmap": False}},
            target_opset=_OPSET,
        )
    )


def check_parity(
    name: str, expected: NDArray[np.float32], exported: NDArray[np.float32], tolerance: float = TOLERANCE
) -> float:
    """The largest difference between a library's probabilities and the exported model's.

    Raises:
        ModelRejectedError: it is more than `tolerance`; the export is not the model.
    """
    difference = float(np.max(np.abs(expected.astype(np.float64) - exported.astype(np.float64)), initial=0.0))
    if not difference <= tolerance:
        raise ModelRejectedError(
            f"the ONNX export of the {name} model differs from it by up to {difference:.2g}, more than {tolerance:g}"
        )
    return difference


def _bytes(model: Any) -> bytes:
    # Equal models must have equal bytes: the converters make up a name, and list the operator sets in the order of a Python set.
    model.graph.name = "model"
    model.opset_import.sort(key=lambda operators: operators.domain)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
