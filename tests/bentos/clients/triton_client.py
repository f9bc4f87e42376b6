"""Speaks the Open Inference Protocol with tritonclient; run as a program, since its protobuf stubs collide with the server's.

    python triton_client.py <job.json>     prints the result as JSON

The job: `http` and `grpc` (host:port), `model`, `version`, `fields` (name -> kind), `rows`. The result: for each way in, the
probabilities as hexadecimal floats (exact), the labels and the version; and what the servers say about themselves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

OUTPUTS = ("probability", "label")
CODINGS = ("gzip", "deflate")


def column(kind: str, values: list[Any]) -> tuple[str, np.ndarray[Any, Any]]:
    if kind == "number":
        return "FP64", np.array([np.nan if value is None else value for value in values], np.float64)
    if kind == "boolean":
        return "BOOL", np.array(values, np.bool_)
    return "BYTES", np.array([("" if value is None else value).encode() for value in values], np.object_)


def inputs(module: Any, job: dict[str, Any], **options: Any) -> list[Any]:
    tensors = []
    for name, kind in job["fields"].items():
        datatype, values = column(kind, [row.get(name) for row in job["rows"]])
        tensor = module.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **options)
        tensors.append(tensor)
    return tensors


def json_inputs(job: dict[str, Any]) -> list[Any]:
    """JSON tensors without NaN, which is no JSON: missing numbers are null, which tritonclient cannot write by itself."""
    tensors = inputs(triton_http, job, binary_data=False)
    for tensor in tensors:
        data = tensor._data
        tensor._data = [None if value != value else value for value in data]
    return tensors


def answer(result: Any) -> dict[str, Any]:
    response = result.get_response()
    version = response["model_version"] if isinstance(response, dict) else response.model_version
    labels = [label if isinstance(label, str) else label.decode() for label in result.as_numpy("label").tolist()]
    return {
        "probability": [value.hex() for value in result.as_numpy("probability").tolist()],
        "label": labels,
        "version": version,
    }


def over_http(job: dict[str, Any]) -> dict[str, Any]:
    client = triton_http.InferenceServerClient(job["http"])
    model, version = job["model"], job["version"]
    text = [triton_http.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS]
    binary = [triton_http.InferRequestedOutput(name, binary_data=True) for name in OUTPUTS]
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready() and client.is_model_ready(model) and client.is_model_ready(model, version),
        "wrong_model_ready": client.is_model_ready("no-such-model"),
        "server": client.get_server_metadata(),
        "metadata": client.get_model_metadata(model, version),
        "json": answer(client.infer(model, json_inputs(job), model_version=version, outputs=text)),
        "binary": answer(client.infer(model, inputs(triton_http, job), outputs=binary)),
        "default": answer(client.infer(model, inputs(triton_http, job))),
        "compressed": [
            answer(client.infer(model, inputs(triton_http, job), request_compression_algorithm=name))
            for name in CODINGS
        ],
        "config": client.get_model_config(model, version),
        "index": client.get_model_repository_index(),
    }


def over_grpc(job: dict[str, Any]) -> dict[str, Any]:
    client = triton_grpc.InferenceServerClient(job["grpc"])
    model, version = job["model"], job["version"]
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready() and client.is_model_ready(model) and client.is_model_ready(model, version),
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata(model, version, as_json=True),
        "raw": answer(client.infer(model, inputs(triton_grpc, job), model_version=version)),
        "compressed": [
            answer(client.infer(model, inputs(triton_grpc, job), compression_algorithm=name)) for name in CODINGS
        ],
        "config": client.get_model_config(model, version, as_json=True)["config"],
        "index": client.get_model_repository_index(as_json=True)["models"],
        "one_output": [
            output.name
            for output in client.infer(
                model, inputs(triton_grpc, job), outputs=[triton_grpc.InferRequestedOutput("label")]
            )
            .get_response()
            .outputs
        ],
    }


if __name__ == "__main__":
    described = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps({"http": over_http(described), "grpc": over_grpc(described)}))
