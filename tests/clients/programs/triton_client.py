"""Ask with tritonclient over HTTP or gRPC: `triton_client.py http|grpc ADDRESS FILE…`."""

import base64
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

TYPES = {"FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
protocol, address, *files = sys.argv[1:]
triton = importlib.import_module(f"tritonclient.{protocol}")
client = triton.InferenceServerClient(address.removeprefix("http://"))


def tensor(entry: dict[str, Any]) -> Any:
    datatype, (values,) = entry["datatype"], entry["contents"].values()
    given = [base64.b64decode(value) for value in values] if datatype == "BYTES" else values
    made = triton.InferInput(entry["name"], [1], datatype)
    made.set_data_from_numpy(np.array(given, TYPES[datatype]))
    return made


def ask(request: dict[str, Any]) -> dict[str, Any]:
    answer = client.infer(request["model_name"], [tensor(entry) for entry in request["inputs"]])
    found = {name: answer.as_numpy(name).tolist()[0] for name in ("probability", "label")}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


print("OK" if client.is_server_ready() else "not ready")
for file in files:
    try:
        print("OK", json.dumps(ask(json.loads(Path(file).read_bytes()))))
    except InferenceServerException as error:
        print(str(error.status()).removeprefix("StatusCode."), error.message().replace("\n", " "))
