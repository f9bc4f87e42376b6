"""What every client asks: a row twice, a row that lacks a field, and a body beyond the limit."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bentos.protocols.oip.kinds import DATATYPES
from contract.bundle import manifest
from contract.bundle.limits import FILE_NAME, Limits
from contract.schema.schema import FeatureSchema

_CONTENTS = {"FP64": "fp64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
_HTTP_BYTES, _GRPC_BYTES = (
    40 << 20,
    2 << 20,
)  # what nginx passes on after more than sockets hold; what grpc's own clients may send


@dataclass(frozen=True)
class Requests:
    """Files of requests by protocol, in the order in which they are sent, and what the answers have to say.

    Attributes:
        answer: the golden one, of the first two requests.
        absent: the field that the third lacks.
        limit_bytes: what the fourth is beyond.
    """

    files: dict[str, list[Path]]
    answer: dict[str, Any]
    absent: str
    limit_bytes: int


def write_requests(bundle: Path, directory: Path) -> Requests:
    """Make them of a bundle's first golden request that is complete."""
    artifact = bundle / manifest.ARTIFACT
    entries = json.loads((artifact / manifest.GOLDEN_FILE_NAME).read_bytes())
    golden = next(entry for entry in entries if "fallbacks" not in entry["answer"])
    schema = FeatureSchema.from_bytes((artifact / "schema.json").read_bytes())
    name = json.loads((bundle / manifest.FILE_NAME).read_bytes())["name"]
    row = {key: value for key, value in golden["row"].items() if value is not None}
    kinds = {field.name: field.kind for field in schema.fields}
    absent = next(field.name for field in schema.fields if field.required)
    lacking = {key: value for key, value in row.items() if key != absent}
    text = next(key for key in row if DATATYPES[kinds[key]] == "BYTES")
    http = [json.dumps({"rows": [some]}) for some in (row, row, lacking)]
    grpc = [json.dumps(_message(name, some, kinds)) for some in (row, row, lacking, row | {text: "x" * _GRPC_BYTES})]
    files = {"HTTP": [*http, http[0] + " " * _HTTP_BYTES], "gRPC": grpc}
    written = {key: _written(directory / key, texts) for key, texts in files.items()}
    limits = Limits.from_bytes((artifact / FILE_NAME).read_bytes())
    return Requests(written, golden["answer"], absent, limits.body_limit_bytes)


def _message(model: str, row: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    """The JSON of a ModelInferRequest."""
    return {"model_name": model, "inputs": [_tensor(key, value, DATATYPES[kinds[key]]) for key, value in row.items()]}


def _tensor(name: str, value: Any, datatype: str) -> dict[str, Any]:
    held = base64.b64encode(value.encode()).decode() if datatype == "BYTES" else value
    return {"name": name, "datatype": datatype, "shape": [1], "contents": {_CONTENTS[datatype]: [held]}}


def _written(directory: Path, texts: list[str]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{index}.json" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths
