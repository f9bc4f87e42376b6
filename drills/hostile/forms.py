"""Right requests for one model in every form that the server accepts, and mutations of bytes."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

from bentos.protos import oip_pb2
from harness.bundles import Bundle
from harness.load import raw_tensors

_DATATYPES = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "timestamp": "BYTES"}


def http(method: str, path: str, body: bytes = b"", *headers: tuple[str, str], encoding: str = "utf-8") -> bytes:
    """Return a complete HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() == "transfer-encoding" for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode(encoding) + body


def mutated(chance: random.Random, content: bytes) -> bytes:
    """Return the content with one to eight changes: bits flipped, bytes overwritten, pieces cut, repeated or moved."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed) + 1)
        end = min(len(changed), at + chance.choice((1, 1, 2, 4, 16, 64)))
        piece = bytes(changed[at:end])
        match chance.randrange(5):
            case 0:
                changed[at:end] = bytes(byte ^ (1 << chance.randrange(8)) for byte in piece)
            case 1:
                changed[at:end] = chance.choice((b"\x00", b"\xff", b"\x80", b"9", b'"', b"[", b"{", b"\n")) * len(piece)
            case 2:
                changed[at:end] = b""
            case 3:
                changed[at:at] = piece * chance.choice((1, 2, 50))
            case _:
                where = chance.randrange(len(changed) + 1)
                changed[where:where] = piece
    return bytes(changed)


class Forms:
    """The golden requests of a bundle as bodies, tensors and messages."""

    def __init__(self, bundle: Bundle) -> None:
        self.model: str = bundle.schema["name"]
        self.fields: dict[str, dict[str, Any]] = {field["name"]: field for field in bundle.schema["fields"]}
        self.infer = f"/v2/models/{quote(self.model)}/infer"
        self._golden = bundle.golden

    def case(self, chance: random.Random) -> dict[str, Any]:
        """Return a golden case."""
        return chance.choice(self._golden)

    def row(self, chance: random.Random) -> dict[str, Any]:
        """Return a copy of a golden row, to be spoiled."""
        return dict(self.case(chance)["row"])

    def any_field(self, chance: random.Random, kind: str) -> str:
        """Return the name of a field of a kind."""
        return chance.choice([name for name, field in self.fields.items() if field["kind"] == kind])

    def body(self, chance: random.Random) -> tuple[str, bytes, list[tuple[str, str]]]:
        """Return path, body and headers of a right request: `/predict`, or JSON or binary tensors."""
        row = self.row(chance)
        way = chance.randrange(3)
        if way == 0:
            return "/predict", json.dumps({"rows": [row] * 2}).encode(), [("Content-Type", "application/json")]
        request = self.tensors(row)
        if way == 1:
            return self.infer, json.dumps(request).encode(), [("Content-Type", "application/json")]
        tail = b"".join(wire(entry) for entry in request["inputs"])
        for entry in request["inputs"]:
            entry["parameters"] = {"binary_data_size": len(wire(entry))}
            del entry["data"]
        head = json.dumps(request).encode()
        headers = [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head)))]
        return self.infer, head + tail, headers

    def tensors(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row as a request of JSON tensors."""
        present = {name: value for name, value in row.items() if value is not None}
        return {
            "inputs": [
                {"name": name, "datatype": _DATATYPES[self.fields[name]["kind"]], "shape": [1], "data": [value]}
                for name, value in present.items()
            ]
        }

    def message(self, row: dict[str, Any], *, raw: bool) -> Any:
        """Return a row as a ModelInfer message, its tensors raw or typed."""
        message = oip_pb2.ModelInferRequest(model_name=self.model)
        contents = {"FP64": "fp64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
        for entry in self.tensors(row)["inputs"]:
            tensor = message.inputs.add(name=entry["name"], datatype=entry["datatype"], shape=[1])
            if raw:
                message.raw_input_contents.append(wire(entry))
            else:
                value = str(entry["data"][0]).encode() if entry["datatype"] == "BYTES" else entry["data"][0]
                getattr(tensor.contents, contents[entry["datatype"]]).append(value)
        return message


def wire(entry: dict[str, Any]) -> bytes:
    """Return a tensor's one value in the protocol's raw representation."""
    return raw_tensors.wire(entry["datatype"], entry["data"][0])
