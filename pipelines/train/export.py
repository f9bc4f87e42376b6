"""Models to ONNX, the data-only form in which they are judged and served."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelRejectedError

# Largest difference that an export may show against its own library: in probability, or as a share of the largest value, which
# is a sum over all trees in single precision, rounded as often as there are trees.
TOLERANCE = 1e-6
SUM_TOLERANCE = 1e-5
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

    last = model.steps[-1][1]
    options = {id(last): {"zipmap": False}} if hasattr(last, "classes_") else None
    return _bytes(
        to_onnx(
            model,
            initial_types=[("features", FloatTensorType([None, features]))],
            options=options,
            target_opset=_OPSET,
        )
    )


def check_parity(
    name: str, expected: NDArray[Any], exported: NDArray[Any], tolerance: float = TOLERANCE, *, relative: bool = False
) -> float:
    """The largest difference between what a library's model says and what the exported one does.

    Where it is `relative`, it is a share of the largest value that the library's model gives: values have a scale of their own.

    Raises:
        ModelRejectedError: it is more than `tolerance`; the export is not the model.
    """
    expected = expected.astype(np.float64)
    difference = float(np.max(np.abs(expected - exported.astype(np.float64)), initial=0.0))
    if relative:
        difference /= float(np.max(np.abs(expected), initial=0.0)) or 1.0
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
