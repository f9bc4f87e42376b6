"""Tensors in the four forms in which the protocol moves them: JSON, binary, typed contents and raw contents."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.oip.clauses import expect

_FORMATS = {"BOOL": "?", "FP16": "e", "FP32": "f", "FP64": "d"} | {
    f"{sign}INT{bits}": letter if sign == "" else letter.upper()
    for bits, letter in ((8, "b"), (16, "h"), (32, "i"), (64, "q"))
    for sign in ("", "U")
}
DATATYPES = (*_FORMATS, "BYTES")
NUMBERS = tuple(name for name in _FORMATS if name != "BOOL")
CONTENTS = {
    "BOOL": "bool_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "BYTES": "bytes_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
}
_JSON = {"BOOL": bool, "BYTES": str} | dict.fromkeys(NUMBERS, (int, float))
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Tensor:
    """A tensor; `values` are flat and in row-major order: bool, int, float, and bytes for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: tuple[Any, ...]

    def as_json(self, **changes: Any) -> dict[str, Any]:
        data = [value.decode() if isinstance(value, bytes) else value for value in self.values]
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape), "data": data, **changes}

    def as_binary(self) -> tuple[dict[str, Any], bytes]:
        """The tensor in the JSON of a request, and its values behind it."""
        content = pack(self.datatype, self.values)
        entry = self.as_json(parameters={"binary_data_size": len(content)})
        del entry["data"]
        return entry, content

    def cast(self, datatype: str) -> Tensor:
        kind = float if datatype.startswith("FP") else int
        return replace(self, datatype=datatype, values=tuple(map(kind, self.values)))

    def bits(self) -> tuple[str, str, tuple[int, ...], bytes]:
        """Equal for two tensors exactly when they are the same, bit for bit."""
        return self.name, self.datatype, self.shape, pack(self.datatype, self.values)


def pack(datatype: str, values: Iterable[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(value)) + value for value in values)
    return b"".join(struct.pack(f"<{_FORMATS[datatype]}", value) for value in values)


def unpack(datatype: str, content: bytes) -> tuple[Any, ...]:
    if datatype != "BYTES":
        return tuple(value for (value,) in struct.iter_unpack(f"<{_FORMATS[datatype]}", content))
    values = []
    while content:
        end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
        values.append(content[_LENGTH.size : end])
        content = content[end:]
    return tuple(values)


def nested(values: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    """Flat values as lists of lists, as the shape says."""
    if len(shape) <= 1:
        return list(values)
    step = len(values) // shape[0]
    return [nested(values[start : start + step], shape[1:]) for start in range(0, len(values), step)]


def flat(data: Any) -> list[Any]:
    return [value for item in data for value in flat(item)] if isinstance(data, list) else [data]


def from_json(entry: dict[str, Any], binary: bytes = b"") -> tuple[Tensor, bytes]:
    """An output tensor of an answer, checked against its own shape and datatype, and what is left of the binary part."""
    name, datatype, shape = entry["name"], entry["datatype"], tuple(entry["shape"])
    expect(datatype in DATATYPES, f"output {name!r} has the datatype {datatype!r}, which there is not")
    size = entry.get("parameters", {}).get("binary_data_size") if binary else None
    if size is not None:
        expect("data" not in entry, f"output {name!r} has both data and binary data")
        expect(size <= len(binary), f"output {name!r} is longer than the body")
        values, binary = unpack(datatype, binary[:size]), binary[size:]
    else:
        data = flat(entry["data"])
        expect(
            all(isinstance(value, _JSON[datatype]) for value in data), f"{datatype} output {name!r} holds {data[:3]}"
        )
        values = tuple(value.encode() if isinstance(value, str) else value for value in data)
    return _checked(Tensor(name, datatype, shape, values)), binary


def from_message(entry: Any, raw: bytes | None) -> Tensor:
    """An output tensor of a gRPC answer, from its raw contents if it has such, else from the contents of its datatype."""
    typed = None if raw is not None else getattr(entry.contents, CONTENTS[entry.datatype])
    values = unpack(entry.datatype, raw) if raw is not None else tuple(typed or ())
    return _checked(Tensor(entry.name, entry.datatype, tuple(entry.shape), values))


def _checked(tensor: Tensor) -> Tensor:
    count = math.prod(tensor.shape)
    expect(
        len(tensor.values) == count,
        f"output {tensor.name!r} of shape {list(tensor.shape)} holds {len(tensor.values)} values",
    )
    return tensor
