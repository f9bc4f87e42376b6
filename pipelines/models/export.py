"""The parity check of an export: the ONNX model, which is judged and served, gives the library's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelRejectedError

# Largest difference between an export and its library: in probability, or as a share of the largest value.
TOLERANCE = 1e-6


def check_parity(
    name: str, expected: NDArray[Any], exported: NDArray[Any], tolerance: float = TOLERANCE, *, relative: bool = False
) -> float:
    """Return the largest difference between scores of the library and of its export, to one significant digit.

    A `relative` difference is a share of the largest score of the library: numbers have their own scale.

    Raises:
        ModelRejectedError: it is larger than `tolerance`, or NaN.
    """
    expected = expected.astype(np.float64)
    difference = float(np.max(np.abs(expected - exported.astype(np.float64)), initial=0.0))
    if relative:
        difference /= float(np.max(np.abs(expected), initial=0.0)) or 1.0
    if not difference <= tolerance:
        raise ModelRejectedError(
            f"the ONNX export of the {name} model differs from it by up to {difference:.2g}, more than {tolerance:g}"
        )
    return float(f"{difference:.1g}")  # the next digits depend on the processor
