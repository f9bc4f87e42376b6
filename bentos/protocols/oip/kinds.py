"""Kinds of fields on the wire, one row each: the datatype that a model's metadata name, those that are read, and the JSON of OpenAPI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contract.schema.schema import Field

INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
FLOATS = frozenset({"FP32", "FP64"})
NUMBERS = INTEGERS | FLOATS
ANY = NUMBERS | {"BOOL", "BYTES"}


@dataclass(frozen=True)
class Wire:
    """One kind of field.

    Attributes:
        datatype: of the Open Inference Protocol, as the model's metadata have it.
        read: the datatypes whose values `contract.schema.kinds` reads as the kind.
        json: the JSON schema that clients are made from.
    """

    datatype: str
    read: frozenset[str]
    json: dict[str, Any]


# Not of the format `date-time`, which has an offset.
_LOCAL = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$", "example": "2013-12-24T17:30"}
_IN_UTC = {"type": "string", "format": "date-time", "example": "2013-12-24T17:30:00Z"}
_WIRES = {
    "number": Wire("FP64", NUMBERS | {"BYTES"}, {"type": "number"}),
    "boolean": Wire("BOOL", ANY, {"type": "boolean"}),
    "category": Wire("BYTES", ANY, {"type": "string"}),
    "timestamp": Wire("BYTES", frozenset({"BYTES"}), _LOCAL),
}
DATATYPES = {kind: wire.datatype for kind, wire in _WIRES.items()}


def wire_of(field: Field) -> Wire:
    """Return how a field is sent; a timestamp by its unit, its zone, or a format of its own."""
    if field.kind != "timestamp":
        return _WIRES[field.kind]
    if field.unit:
        return Wire("BYTES", NUMBERS | {"BYTES"}, {"type": "number"})
    if field.source == (field.name,):
        return Wire("BYTES", frozenset({"BYTES"}), {"type": "string"})
    return Wire("BYTES", frozenset({"BYTES"}), _IN_UTC) if field.zone else _WIRES["timestamp"]
