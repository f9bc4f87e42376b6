"""ModelInfer messages from golden rows, and checking the answers to them.

    python -m benchmarks.client.oip_messages < asked.json

Reads `{"port", "model", "kinds": {field: kind}, "golden": [{"row", "answer"}]}`; calls the server with each row, compares its answer
with the golden one, and prints the messages, base64, as a JSON list. Fails if an answer differs.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import grpc  # type: ignore[import-untyped]

from benchmarks import load
from benchmarks.client.grpc_load import METHOD
from bentos import oip_pb2

_LENGTH = struct.Struct("<I")
_NUMBER = struct.Struct("<d")


def message(model: str, kinds: dict[str, str], row: dict[str, Any]) -> bytes:
    """One row as raw tensors, as tritonclient sends it: numbers as FP64, texts as BYTES; what the row lacks is left out."""
    request = oip_pb2.ModelInferRequest(model_name=model)
    for name, value in row.items():
        is_number = kinds[name] == "number"
        request.inputs.add(name=name, datatype="FP64" if is_number else "BYTES", shape=[1])
        text = str(value).encode()
        request.raw_input_contents.append(_NUMBER.pack(value) if is_number else _LENGTH.pack(len(text)) + text)
    content: bytes = request.SerializeToString()
    return content


def answer(content: bytes) -> dict[str, Any]:
    """Probability and label of the one row that was asked."""
    response = oip_pb2.ModelInferResponse.FromString(content)
    raw = {output.name: response.raw_output_contents[index] for index, output in enumerate(response.outputs)}
    return {"probability": _NUMBER.unpack(raw["probability"])[0], "label": raw["label"][_LENGTH.size :].decode()}


def main() -> None:
    asked = json.load(sys.stdin)
    messages = [message(asked["model"], asked["kinds"], case["row"]) for case in asked["golden"]]
    with grpc.insecure_channel(f"127.0.0.1:{asked['port']}") as channel:
        call = channel.unary_unary(METHOD)
        for content, case in zip(messages, asked["golden"], strict=True):
            got = answer(call(content, timeout=10))
            expected = {name: case["answer"][name] for name in got}
            if got != expected:
                raise SystemExit(f"the server answered {got} where the golden answer is {expected}")
    print(json.dumps(load.encode(messages)))


if __name__ == "__main__":
    main()
