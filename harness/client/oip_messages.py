"""ModelInfer messages from golden rows, and checking the answers to them.

    python -m harness.client.oip_messages < asked.json

Reads `{"port", "model", "kinds": {field: kind}, "requests": [[{"row", "answer"}, …], …]}`; calls the server with the rows of each
request, compares its answers with the golden ones, and prints the messages, base64, as a JSON list. Fails if an answer differs.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]

from bentos.protos import oip_pb2
from harness.client.grpc_load import METHOD
from harness.load import generators

_LENGTH = struct.Struct("<I")


def message(model: str, kinds: dict[str, str], rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as raw tensors, as tritonclient sends them: numbers as FP64, texts as BYTES; what all rows lack is left out."""
    request = oip_pb2.ModelInferRequest(model_name=model)
    for name, kind in kinds.items():
        values = [row.get(name) for row in rows]
        if values == [None] * len(rows):
            continue
        is_number = kind == "number"
        request.inputs.add(name=name, datatype="FP64" if is_number else "BYTES", shape=[len(rows)])
        if is_number:
            numbers = [math.nan if value is None else value for value in values]
            request.raw_input_contents.append(struct.pack(f"<{len(rows)}d", *numbers))
        else:
            texts = ["" if value is None else str(value) for value in values]
            request.raw_input_contents.append(
                b"".join(_LENGTH.pack(len(text.encode())) + text.encode() for text in texts)
            )
    content: bytes = request.SerializeToString()
    return content


def answers(content: bytes) -> list[dict[str, Any]]:
    """Probability and label of each row that was asked."""
    response = oip_pb2.ModelInferResponse.FromString(content)
    raw = {output.name: response.raw_output_contents[index] for index, output in enumerate(response.outputs)}
    chances = struct.unpack(f"<{len(raw['probability']) // 8}d", raw["probability"])
    labels, rest = [], raw["label"]
    while rest:
        end = _LENGTH.size + _LENGTH.unpack_from(rest)[0]
        labels.append(rest[_LENGTH.size : end].decode())
        rest = rest[end:]
    return [{"probability": chance, "label": label} for chance, label in zip(chances, labels, strict=True)]


def main() -> None:
    asked = json.load(sys.stdin)
    messages = []
    with grpc.insecure_channel(f"127.0.0.1:{asked['port']}") as channel:
        call = channel.unary_unary(METHOD)
        for cases in asked["requests"]:
            messages.append(message(asked["model"], asked["kinds"], [case["row"] for case in cases]))
            got = answers(call(messages[-1], timeout=10))
            expected = [{name: case["answer"][name] for name in ("probability", "label")} for case in cases]
            if got != expected:
                raise SystemExit(f"the server answered {got} where the golden answers are {expected}")
    print(json.dumps(generators.encode(messages)))


if __name__ == "__main__":
    main()
