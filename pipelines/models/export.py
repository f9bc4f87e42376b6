"""The parity check of an export: the ONNX model, which is judged and served, gives the library's scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelRejectedError

# Largest difference between an export and its library: in probability, or as a share of the largest value.
TOLERANCE = 1e-6


@dataclass
class Parity:
    """The differences between scores of the library and of its export, over batches of rows.

    Attributes:
        difference: the largest one so far, NaN from the first NaN on.
        largest: the largest score of the library so far.
    """

    difference: float = 0.0
    largest: float = 0.0

    def add(self, expected: NDArray[Any], exported: NDArray[Any]) -> None:
        """Compare the scores of a batch."""
        wide = expected.astype(np.float64)
        self.difference = float(np.max(np.abs(wide - exported), initial=self.difference))
        self.largest = float(np.max(np.abs(wide), initial=self.largest))

    def check(self, name: str, tolerance: float = TOLERANCE, *, relative: bool = False) -> float:
        """Return the largest difference to one significant digit.

        A `relative` difference is a share of the largest score of the library: numbers have their own scale.

        Raises:
            ModelRejectedError: it is larger than `tolerance`, or NaN.
        """
        difference = self.difference / (self.largest or 1.0) if relative else self.difference
        if not difference <= tolerance:
            raise ModelRejectedError(
                f"the ONNX export of the {name} model differs from it by up to {difference:.2g}, more than {tolerance:g}"
            )
        return float(f"{difference:.1g}")  # the next digits depend on the processor


def check_parity(
    name: str, expected: NDArray[Any], exported: NDArray[Any], tolerance: float = TOLERANCE, *, relative: bool = False
) -> float:
    """Return the largest difference of one batch, or raise, as `Parity.check` does."""
    parity = Parity()
    parity.add(expected, exported)
    return parity.check(name, tolerance, relative=relative)
