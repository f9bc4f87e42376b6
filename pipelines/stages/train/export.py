"""What an export must show: that the ONNX model, which is judged and served, is the library's model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelRejectedError

# Largest difference that an export may show against its own library: in probability, or as a share of the largest value.
TOLERANCE = 1e-6


def check_parity(
    name: str, expected: NDArray[Any], exported: NDArray[Any], tolerance: float = TOLERANCE, *, relative: bool = False
) -> float:
    """The largest difference between what a library's model says and what the exported one does, to one significant digit.

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
    return float(f"{difference:.1g}")  # the next digits depend on the processor
