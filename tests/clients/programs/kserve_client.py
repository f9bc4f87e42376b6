"""Ask with kserve's clients over HTTP or gRPC: `kserve_client.py http|grpc ADDRESS FILE…`."""

import asyncio
import base64
import json
import logging
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

TYPES = {"FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
protocol, address, *files = sys.argv[1:]
logging.disable()  # of each refusal it logs a traceback


def tensor(entry: dict[str, Any]) -> InferInput:
    datatype, (values,) = entry["datatype"], entry["contents"].values()
    given = [base64.b64decode(value) for value in values] if datatype == "BYTES" else values
    made = InferInput(entry["name"], [1], datatype)
    made.set_data_from_numpy(np.array(given, TYPES[datatype]))
    return made


async def infer(client: Any, request: dict[str, Any]) -> dict[str, Any]:
    asked = InferRequest(request["model_name"], [tensor(entry) for entry in request["inputs"]])
    if protocol == "grpc":
        answer = await client.infer(asked)
    else:
        answer = await client.infer(address, asked, model_name=request["model_name"])
    found = {name: answer.get_output_by_name(name).as_numpy().tolist()[0] for name in ("probability", "label")}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


async def main() -> None:
    client = InferenceGRPCClient(address) if protocol == "grpc" else InferenceRESTClient(RESTConfig(protocol="v2"))
    ready = await client.is_server_ready(*() if protocol == "grpc" else (address,))
    print("OK" if ready else "not ready")
    for file in files:
        try:
            print("OK", json.dumps(await infer(client, json.loads(Path(file).read_bytes()))))
        except httpx.HTTPStatusError as error:
            print(error.response.status_code, str(error).replace("\n", " "))
        except grpc.RpcError as error:
            print(error.code().name, error.details().replace("\n", " "))
    await client.close()


asyncio.run(main())
