"""Requests of one row to a running server, over HTTP and gRPC, for the smoke test and the rehearsal; no library for callers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any

from bentos.protocols.oip.kinds import DATATYPES
from bentos.protos import oip_pb2 as oip
from bentos.rehearsal.channel import GrpcChannel
from contract.schema.schema import QUANTILE

Prediction = dict[str, Any]
Headers = Mapping[str, str]
FALLBACKS = "fallbacks"
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_NO_KEY: Headers = {}
_CONTENTS = {"FP64": "fp64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}


def over_http(connection: HTTPConnection, row: Prediction, headers: Headers = _NO_KEY) -> tuple[Prediction, str]:
    """Return the prediction for a row, with its fallbacks, and the version of the model.

    Raises:
        ValueError: the answer is not a prediction; the message holds its status and first 300 bytes.
    """
    status, content = post(connection, json.dumps({"rows": [row]}).encode(), headers)
    if status != 200:
        raise ValueError(f"answered with {status}: {content[:300].decode(errors='replace')}")
    answer = json.loads(content)
    (prediction,) = answer["predictions"]
    return prediction, answer["model"]["version"]


def post(connection: HTTPConnection, body: bytes, headers: Headers = _NO_KEY) -> tuple[int, bytes]:
    """POST a JSON body to `/predict`; return status and body of the answer."""
    connection.request("POST", "/predict", body, {"content-type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, response.read()


def over_grpc(
    channel: GrpcChannel, row: Prediction, schema: dict[str, Any], headers: Headers = _NO_KEY
) -> tuple[Prediction, str]:
    """Return the same over gRPC.

    Raises:
        RefusedError: the call's status is not OK.
    """
    request = oip.ModelInferRequest(model_name=schema["name"])
    kinds = {field["name"]: field["kind"] for field in schema["fields"]}
    for name, value in row.items():
        _add_tensor(request, name, kinds.get(name), value)
    answer = oip.ModelInferResponse.FromString(channel.call(_INFER, request.SerializeToString(), headers))
    prediction: Prediction = {}
    for output in answer.outputs:
        if output.datatype == "BYTES":
            prediction[output.name] = output.contents.bytes_contents[0].decode()
        elif output.name.startswith(QUANTILE):
            levels = prediction.setdefault("quantiles", {})
            levels[output.name.removeprefix(QUANTILE)] = output.contents.fp64_contents[0]
        elif len(output.shape) == 2:
            chances = output.contents.fp64_contents
            prediction[output.name] = dict(zip(schema["target"]["labels"], chances, strict=True))
        else:
            prediction[output.name] = output.contents.fp64_contents[0]
    if FALLBACKS in answer.parameters:
        assumed = json.loads(answer.parameters[FALLBACKS].string_param)
        prediction[FALLBACKS] = [{key: entry[key] for key in ("field", "problem")} for entry in assumed]
    return prediction, answer.model_version


def _add_tensor(request: oip.ModelInferRequest, name: str, kind: str | None, value: Any) -> None:
    datatype = DATATYPES.get(kind or "", "BYTES")
    sent = str(value).encode() if datatype == "BYTES" else value
    tensor = request.inputs.add(name=name, shape=[1], datatype=datatype)
    getattr(tensor.contents, _CONTENTS[datatype]).append(sent)
