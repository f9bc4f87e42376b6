"""The feature schema: what a request carries, and how it becomes the row of numbers that the model reads.

A *field* is what a caller sends (`carrier`, `scheduled_departure`); a *feature* is a column of the model's matrix, made from one
or two fields by a named transform. The schema holds all fitted state of the encoding (category codes, lookup tables) and travels
in the bundle as `schema.json`.
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
from contract.schema.tasks import TASKS

__all__ = ["FILE_NAME", "FORMAT", "Feature", "FeatureSchema", "Field", "Target"]

FILE_NAME = "schema.json"
FORMAT = 1


@dataclass(frozen=True)
class Feature:
    """One float32 column of the model's matrix.

    Attributes:
        inputs: names of the fields that the transform reads.
        transform: one of `contract.model.transforms.TRANSFORMS`.
        options: what it is made with, learned state among it, such as the known categories.
    """

    name: str
    transform: str
    inputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        labels: binary: the negative and the positive one; multiclass: three or more, in the order of the model's probabilities;
            regression: none.
        threshold: binary: the probability from which the label is the positive one.
        unit: of a regression's number, for people.
    """

    name: str
    labels: tuple[str, ...] = ()
    threshold: float | None = None
    unit: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Only what the task has."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}


@dataclass(frozen=True)
class FeatureSchema:
    """All that a request needs to be read, encoded and answered; `task` is the name of one of `contract.schema.tasks`.

    Attributes:
        deprecated: fields that a request may still carry, whatever their value, and that nothing reads.
    """

    name: str
    task: str
    target: Target
    fields: tuple[Field, ...]
    features: tuple[Feature, ...]
    deprecated: tuple[Field, ...] = ()
    format: int = FORMAT

    @property
    def accepted(self) -> tuple[Field, ...]:
        """The fields that a request may carry."""
        return self.fields + self.deprecated

    @property
    def feature_names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @property
    def open_features(self) -> list[str]:
        """The names of the features that are made from no PII field."""
        pii = {entry.name for entry in self.fields if entry.pii}
        return [feature.name for feature in self.features if pii.isdisjoint(feature.inputs)]

    def to_bytes(self) -> bytes:
        return canonical_json(asdict(self) | {"target": self.target.as_dict()})

    @classmethod
    def from_bytes(cls, content: bytes) -> FeatureSchema:
        """The schema that `to_bytes` wrote.

        Raises:
            BundleError: the content is not such a schema.
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
    threshold = raw.get("threshold")
    return Target(
        raw["name"],
        tuple(raw.get("labels", ())),
        None if threshold is None else float(threshold),
        raw.get("unit"),
    )


def _field(raw: Mapping[str, Any]) -> Field:
    lists = {key: tuple(raw[key]) for key in ("missing", "source") if key in raw}
    return Field(**{**raw, **lists})


def _feature(raw: Mapping[str, Any]) -> Feature:
    return Feature(raw["name"], raw["transform"], tuple(raw["inputs"]), dict(raw["options"]))


def _check(schema: FeatureSchema) -> None:
    _check_target(schema.task, schema.target)
    names = {entry.name for entry in schema.fields}
    if twice := names & {entry.name for entry in schema.deprecated}:
        raise ValueError(f"the fields {sorted(twice)} are deprecated, and read")
    for entry in schema.accepted:
        if entry.kind not in REQUESTED:
            raise ValueError(f"field {entry.name!r} has the kind {entry.kind!r}, not one of {', '.join(REQUESTED)}")
        if entry.decimal not in (".", ",") or entry.zone not in (None, "UTC"):
            raise ValueError(f"field {entry.name!r} has the decimal sign {entry.decimal!r} and the zone {entry.zone!r}")
    for feature in schema.features:
        if unknown := set(feature.inputs) - names:
            raise ValueError(f"feature {feature.name!r} reads {sorted(unknown)}, which the schema has no field for")


def _check_target(task: str, target: Target) -> None:
    if task not in TASKS:
        raise ValueError(f"the task is {task!r}, not one of {', '.join(TASKS)}")
    count = len(target.labels)
    if not TASKS[task].takes(count):
        raise ValueError(f"{count} labels do not go with the task {task}")
    if (target.threshold is None) == TASKS[task].has_positive:
        raise ValueError(f"a threshold goes with a probability, and only with it (the task is {task})")
