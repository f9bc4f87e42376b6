"""The base of the models of all transforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.params.column import Column
from pipelines.params.types import Model


class FeatureModel(Model):
    """The base of the models of all transforms."""

    transform: str

    @property
    def is_fitted(self) -> bool:
        """True if it is fitted to the training rows, by `pipelines.stages.features.fit.FITS`."""
        return False

    @property
    def also_fitted(self) -> tuple[str, ...]:
        """The columns it is fitted to besides its own."""
        return ()

    @property
    def encoded_as(self) -> str:
        """The transform of `contract.model.transforms` that makes the feature of a request's fields."""
        return str(self.transform)

    def check(self, name: str, columns: Mapping[str, Column]) -> None:
        """Raise ValueError if the columns of the feature `name`, which are declared and of its kinds, do not suit it."""

    def declared(self) -> dict[str, Any]:
        """Return the options of its transform if nothing is fitted."""
        return self.model_dump(exclude={"transform", "input", "inputs"})
