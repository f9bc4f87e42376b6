"""Rows as raw tensors of the Open Inference Protocol, as Triton's clients send them, and answers from such tensors.

Standard library only: load generators import it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_LENGTH = struct.Struct("<I")
Rows = Sequence[Mapping[str, Any]]
Prediction = dict[str, Any]


def of_rows(kinds: Mapping[str, str], rows: Rows) -> list[tuple[str, str, bytes]]:
    """Return name, datatype and content of each tensor: numbers as FP64, others as BYTES; what all rows lack is left out."""
    tensors = []
    for name, kind in kinds.items():
        values = [row.get(name) for row in rows]
        if values == [None] * len(rows):
            continue
        if kind == "number":
            numbers = [math.nan if value is None else value for value in values]
            tensors.append((name, "FP64", struct.pack(f"<{len(rows)}d", *numbers)))
        else:
            texts = ("" if value is None else value for value in values)
            tensors.append((name, "BYTES", b"".join(wire("BYTES", text) for text in texts)))
    return tensors


def wire(datatype: str, value: Any) -> bytes:
    """Return one value of a raw tensor: a text with its length before it, anything else as the processor has it, little-endian."""
    if datatype == "BYTES":
        text = str(value).encode()
        return _LENGTH.pack(len(text)) + text
    return struct.pack({"BOOL": "<?", "INT64": "<q", "FP64": "<d"}[datatype], value)


def predictions(chances: bytes, labels: bytes) -> list[Prediction]:
    """Return probability and label of each row, of the contents of these two outputs."""
    found = []
    for (chance,) in struct.iter_unpack("<d", chances):
        end = _LENGTH.size + _LENGTH.unpack_from(labels)[0]
        found.append({"probability": chance, "label": labels[_LENGTH.size : end].decode()})
        labels = labels[end:]
    return found


def http_request(model: str, kinds: Mapping[str, str], rows: Rows) -> bytes:
    """Return a complete request with binary tensors, which asks for binary ones."""
    tensors = of_rows(kinds, rows)
    inputs = [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "parameters": {"binary_data_size": len(content)}}
        for name, datatype, content in tensors
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join([head, *(content for _, _, content in tensors)])
    fields = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*fields, "", "")).encode() + body


def http_predictions(response: bytes) -> list[Prediction]:
    """Return the predictions of a complete response to such a request."""
    fields, _, body = response.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in fields.lower().split(b"\r\n") if line.startswith(b"inference-header")
    )
    contents = {}
    position = length
    for output in json.loads(body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        contents[output["name"]] = body[position : position + size]
        position += size
    return predictions(contents["probability"], contents["label"])
