"""ModelInfer messages from golden rows, and the check of their answers.

    python -m harness.client.oip_messages < asked.json

Reads `{"port", "model", "kinds": {field: kind}, "requests": [[{"row", "answer"}, …], …]}`; calls the server with the rows of each
request, compares its answers with the golden ones, and prints the messages, base64, as a JSON list. Fails if an answer differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import grpc

from bentos.protos import oip_pb2
from harness.client.grpc_load import METHOD
from harness.load import generators, raw_tensors


def message(model: str, kinds: dict[str, str], rows: Sequence[dict[str, Any]]) -> bytes:
    """Return a message of rows as raw tensors, as tritonclient sends them."""
    request = oip_pb2.ModelInferRequest(model_name=model)
    for name, datatype, content in raw_tensors.of_rows(kinds, rows):
        request.inputs.add(name=name, datatype=datatype, shape=[len(rows)])
        request.raw_input_contents.append(content)
    serialized: bytes = request.SerializeToString()
    return serialized


def answers(content: bytes) -> list[dict[str, Any]]:
    """Return probability and label of each row of a response."""
    response = oip_pb2.ModelInferResponse.FromString(content)
    raw = {output.name: response.raw_output_contents[index] for index, output in enumerate(response.outputs)}
    return raw_tensors.predictions(raw["probability"], raw["label"])


def main() -> None:
    """Print the checked messages of the requests read from standard input."""
    asked = json.load(sys.stdin)
    messages = []
    with grpc.insecure_channel(f"127.0.0.1:{asked['port']}") as channel:
        call = channel.unary_unary(METHOD)
        for cases in asked["requests"]:
            messages.append(message(asked["model"], asked["kinds"], [case["row"] for case in cases]))
            got = answers(call(messages[-1], timeout=10))
            expected = [{name: case["answer"][name] for name in ("probability", "label")} for case in cases]
            if got != expected:
                raise SystemExit(f"the server answered {got}; the golden answers are {expected}")
    print(json.dumps(generators.encode(messages)))


if __name__ == "__main__":
    main()
