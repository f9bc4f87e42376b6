"""The feature schema: the fields of a request, and their encoding into the model's matrix.

A *field* is a key of a request (`carrier`, `scheduled_departure`); a *feature* is a column of the model's matrix, made from one or two
fields by a named transform. The schema holds all fitted state of the encoding (category codes, lookup tables) and travels in the bundle
as `schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from contract.errors import BundleError
from contract.files import canonical_json
from contract.schema.fields import Field
from contract.schema.kinds import REQUESTED
from contract.schema.tasks import TASKS, Objective

__all__ = ["FILE_NAME", "FORMAT", "Feature", "FeatureSchema", "Field", "Target"]

FILE_NAME = "schema.json"
FORMAT = 1
QUANTILE = "quantile_"  # before the level, the name of a tensor


@dataclass(frozen=True)
class Feature:
    """One float32 column of the model's matrix.

    Attributes:
        inputs: names of the fields that the transform reads.
        transform: one of `contract.model.transforms.TRANSFORMS`.
        options: the transform's parameters and fitted state, such as the known categories.
    """

    name: str
    transform: str
    inputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """The predicted quantity.

    Attributes:
        labels: binary: the negative and the positive one; multiclass: three or more, in the order of the model's probabilities;
            regression: none.
        threshold: binary: the lowest probability of the positive label.
        unit: unit of a number, for people.
        objective: name of the objective of training; None is the task's default.
        slope: Huber: error from which the loss grows linearly.
        power: Tweedie: power of the mean that the variance grows with, between 1 and 2.
        quantiles: the levels of the predicted quantiles, ascending, between 0 and 1.
    """

    name: str
    labels: tuple[str, ...] = ()
    threshold: float | None = None
    unit: str | None = None
    objective: str | None = None
    slope: float | None = None
    power: float | None = None
    quantiles: tuple[float, ...] = ()

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of a row's scores where it has several: its labels, or its quantiles, such as `0.9`."""
        return self.labels or tuple(map(str, self.quantiles))

    @property
    def quantile_outputs(self) -> tuple[str, ...]:
        """The names of the quantiles as tensors of their own, such as `quantile_0.9`."""
        return tuple(f"{QUANTILE}{level}" for level in self.quantiles)

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes that the task has."""
        # Left out instead of null, so that a task that gains an attribute leaves the bytes of the others' schemas alone.
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}


@dataclass(frozen=True)
class FeatureSchema:
    """The schema for reading, encoding and answering requests; `task` is one of `contract.schema.tasks`.

    Attributes:
        deprecated: fields that requests may still carry, with any value; nothing reads them.
    """

    name: str
    task: str
    target: Target
    fields: tuple[Field, ...]
    features: tuple[Feature, ...]
    deprecated: tuple[Field, ...] = ()
    format: int = FORMAT

    @property
    def objective(self) -> Objective:
        """The objective of training."""
        return TASKS[self.task].objective(self.target.objective)

    @property
    def scores(self) -> int:
        """The number of scores of a row."""
        return 1 if TASKS[self.task].has_positive else max(1, len(self.target.scored))

    @property
    def accepted(self) -> tuple[Field, ...]:
        """All fields allowed in a request, deprecated ones too."""
        return self.fields + self.deprecated

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in the order of the matrix."""
        return [feature.name for feature in self.features]

    @property
    def open_features(self) -> list[str]:
        """The names of the features without personal data."""
        pii = {entry.name for entry in self.fields if entry.pii}
        return [feature.name for feature in self.features if pii.isdisjoint(feature.inputs)]

    def to_bytes(self) -> bytes:
        """Return the content of `schema.json`."""
        return canonical_json(asdict(self) | {"target": self.target.as_dict()})

    @classmethod
    def from_bytes(cls, content: bytes) -> FeatureSchema:
        """Return the schema that `to_bytes` wrote.

        Raises:
            BundleError: the content is not a feature schema of this format.
        """
        try:
            raw = json.loads(content)
            if raw.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            schema = cls(
                name=raw.pop("name"),
                task=raw.pop("task"),
                target=_target(raw.pop("target")),
                fields=tuple(_field(entry) for entry in raw.pop("fields")),
                features=tuple(_feature(entry) for entry in raw.pop("features")),
                deprecated=tuple(_field(entry) for entry in raw.pop("deprecated", ())),
            )
            # A key that this version ignored could change what an answer means.
            if raw:
                raise ValueError(f"unknown keys {sorted(raw)}")
            _check(schema)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"not a feature schema of format {FORMAT}: {error}") from error
        return schema


def _target(raw: Mapping[str, Any]) -> Target:
    known = {entry.name for entry in fields(Target)}
    if raw.keys() - known:
        raise ValueError(f"unknown keys {sorted(raw.keys() - known)} in target")
    numbers = {key: float(raw[key]) for key in ("threshold", "slope", "power") if raw.get(key) is not None}
    return Target(
        raw["name"],
        tuple(raw.get("labels", ())),
        unit=raw.get("unit"),
        objective=raw.get("objective"),
        quantiles=tuple(map(float, raw.get("quantiles", ()))),
        **numbers,
    )


def _field(raw: Mapping[str, Any]) -> Field:
    # JSON has lists only; tuples keep a field hashable, and equal to the one that was written.
    lists = {key: tuple(raw[key]) for key in ("missing", "source") if key in raw}
    return Field(**{**raw, **lists})


def _feature(raw: Mapping[str, Any]) -> Feature:
    return Feature(raw["name"], raw["transform"], tuple(raw["inputs"]), dict(raw["options"]))


def _check(schema: FeatureSchema) -> None:
    _check_target(schema.task, schema.target)
    names = {entry.name for entry in schema.fields}
    if twice := names & {entry.name for entry in schema.deprecated}:
        raise ValueError(f"the fields {sorted(twice)} are both deprecated and read")
    for entry in schema.accepted:
        if entry.kind not in REQUESTED:
            raise ValueError(f"field {entry.name!r}: kind {entry.kind!r} is not one of {', '.join(REQUESTED)}")
        if entry.decimal not in (".", ",") or entry.zone not in (None, "UTC"):
            raise ValueError(
                f"field {entry.name!r}: decimal sign {entry.decimal!r} or zone {entry.zone!r} is unsupported; '.' and ',', UTC and none are"
            )
    for feature in schema.features:
        if unknown := set(feature.inputs) - names:
            raise ValueError(f"feature {feature.name!r} reads {sorted(unknown)}, which are not fields of the schema")


def _check_target(task: str, target: Target) -> None:
    if task not in TASKS:
        raise ValueError(f"task {task!r} is not one of {', '.join(TASKS)}")
    count = len(target.labels)
    if not TASKS[task].takes(count):
        raise ValueError(f"{count} labels do not fit the task {task}")
    # Both ways: a threshold without a positive label would be ignored in silence.
    if (target.threshold is None) == TASKS[task].has_positive:
        raise ValueError(f"a task with a positive label needs a threshold, and no other has one (the task is {task})")
    for parameter in ("slope", "power", "quantiles"):
        is_read = parameter in TASKS[task].objective(target.objective).parameters
        if is_read != bool(getattr(target, parameter)):
            raise ValueError(f"{parameter} {'is missing' if is_read else 'does not fit the objective'}")
    if list(target.quantiles) != sorted(set(target.quantiles)) or not all(0 < level < 1 for level in target.quantiles):
        raise ValueError("quantiles must ascend, between 0 and 1")
