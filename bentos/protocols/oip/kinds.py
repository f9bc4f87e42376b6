"""The wire form of each kind of field: its datatype in the model's metadata, the datatypes that are read, and its JSON schema."""

from __future__ import annotations

from typing import Any, NamedTuple

from contract.schema.schema import Field

_BITS = (8, 16, 32, 64)
# Datatype -> the least and the largest of its numbers.
INTEGERS = {f"INT{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in _BITS} | {
    f"UINT{bits}": (0, (1 << bits) - 1) for bits in _BITS
}
FLOATS = frozenset({"FP32", "FP64"})
NUMBERS = FLOATS.union(INTEGERS)
ANY = NUMBERS | {"BOOL", "BYTES"}


class Wire(NamedTuple):
    """The wire form of one kind of field.

    Attributes:
        datatype: the datatype of the Open Inference Protocol in the model's metadata.
        read: the datatypes whose values `contract.schema.kinds` reads as the kind.
        json: the JSON schema from which clients are generated.
    """

    datatype: str
    read: frozenset[str]
    json: dict[str, Any]


# Not the format `date-time`, which requires an offset.
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
    """Return the wire form of a field; that of a timestamp depends on its unit, its zone, and a format of its own."""
    if field.kind != "timestamp":
        return _WIRES[field.kind]
    if field.unit:
        return Wire("BYTES", NUMBERS | {"BYTES"}, {"type": "number"})
    if field.source == (field.name,):
        return Wire("BYTES", frozenset({"BYTES"}), {"type": "string"})
    return Wire("BYTES", frozenset({"BYTES"}), _IN_UTC) if field.zone else _WIRES["timestamp"]
