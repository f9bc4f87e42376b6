"""`tune` of `params.yaml`: the search for better settings of the family of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from pipelines.params.types import Model


class Range(Model):
    """The values of one setting that a search may choose; both ends belong to it."""

    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    log: bool = Field(
        default=False, description="Whether ratios count, not differences: 0.01 to 0.1 as much as 0.1 to 1."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high (low is {self.low:g}, high is {self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true (it is {self.low:g})")
        return self

    def holds(self, value: float) -> bool:
        """Return whether a search may choose this value."""
        return self.low <= value <= self.high


def _ends(raw: Any) -> Any:
    """Return `[4, 10]` as a mapping of its ends; anything else as it is."""
    return dict(zip(("low", "high"), raw, strict=True)) if isinstance(raw, list | tuple) and len(raw) == 2 else raw


Space = dict[str, Annotated[Range, BeforeValidator(_ends)]]


class Tune(Model):
    """A search by Optuna: TPE samples the settings, the median of earlier trials prunes a trial by round."""

    trials: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Number of trials, the one with the settings of `train` among them. 0: no search.",
    )
    processes: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Trials at a time, each in a process of its own with one thread. Part of what is searched: the next trials learn "
        "from finished ones alone.",
    )
    space: Space = Field(
        default={},
        description="Settings to search, by their names in `train`: `[4, 10]`, or `{low: 0.01, high: 0.3, log: true}`. Empty: the "
        "family's own, [listed here](../how-to/tune.md#the-space).",
    )
    start: Literal["last"] | dict[str, float] = Field(
        default="last",
        description="Settings of the second trial: the best ones of this machine's last search with the same family, or these. `{}`: "
        "none.",
    )

    def space_of(self, defaults: Mapping[str, Range]) -> Mapping[str, Range]:
        """Return the space to search, given the family's own."""
        return self.space or defaults

    def check(self, family: str, settings: Model, defaults: Mapping[str, Range]) -> None:
        """Raise ValueError where the search does not suit the family, whose settings are these.

        Args:
            defaults: the family's own space; no other setting may be searched.
        """
        if self.trials and not defaults:
            raise ValueError(
                f"tune.trials is {self.trials}, but the family {family} has no setting to search; allowed: 0"
            )
        if self.trials and getattr(settings, "engine", "local") != "local":
            raise ValueError(
                f"tune.trials is {self.trials}, but train.engine is dask, and trials run on this machine; allowed: 0, or "
                "train.engine local"
            )
        given: dict[str, Mapping[str, Any]] = {
            "space": self.space,
            "start": self.start if isinstance(self.start, dict) else {},
        }
        for key, settable in given.items():
            if unknown := [name for name in settable if name not in defaults]:
                raise ValueError(
                    f"tune.{key} names {unknown[0]!r}; allowed for the family {family}: {', '.join(defaults) or 'none'}"
                )
        ends = [(f"space.{name}", name, end) for name, found in self.space.items() for end in (found.low, found.high)]
        started = [(f"start.{name}", name, value) for name, value in given["start"].items()]
        for key, name, value in ends + started:
            try:
                type(settings).model_validate(settings.model_dump() | {name: value})
            except ValidationError as error:
                raise ValueError(f"tune.{key}: {error.errors()[0]['msg']} (it is {value:g})") from error
