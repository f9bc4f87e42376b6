"""The drill of one conversion: raw rows of every kind of source have one answer, bit for bit, over every protocol.

A row goes raw into its source, through `collect` and the stages after it, and is scored as `evaluate` scores it; and it goes raw to
`/predict`, to `/v2` as JSON and as binary tensors, alone and many times at once, and over gRPC. A row with a value that cannot be read
is split off there, and refused here, for the same column.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bentos.protos import oip_pb2
from bentos.rehearsal.channel import GrpcChannel, RefusedError
from contract.bundle import limits, manifest
from contract.bundle.manifest import GOLDEN_FILE_NAME
from contract.files import canonical_json
from contract.model import reference
from contract.model.predictor import MODEL_FILE_NAME, Predictor
from contract.schema import schema
from drills.answers import raw_rows
from drills.answers.raw_rows import Row
from drills.results import Result
from harness import servers
from harness.bundles import Bundle
from harness.load.raw_tensors import wire
from pipelines import paths
from pipelines.columns.golden import golden_cases
from pipelines.data import tables
from pipelines.params.params import Params
from pipelines.stages.collect import stage as collect
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as train
from pipelines.stages.validate import rows as checks
from pipelines.stages.validate.delivery import deliver

MANY = 20  # so many rows are encoded by column
ROWS = 3_600  # of each source: more than 10,000 rows in all
_NOT_SENT = ("order", "outcome")
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_FIELD = re.compile(r"field '([^']+)'")
_OF_PARTS = {"day": "moment", "hour": "moment", "Shop Name": "shop"}
# An answer: the bits of the probability, or the rejected fields.
Outcome = tuple[str, Any]
Ask = Callable[[Row], Outcome]


@dataclass(frozen=True)
class Judged:
    """Rows of a source, and the pipeline's results for them.

    Attributes:
        directory: the stages' working directory.
        rows: in the source's form.
        outcomes: by order: `evaluate`'s score, or the columns for which the row was quarantined.
        canonical: by order, the accepted rows.
    """

    directory: Path
    rows: list[Row]
    outcomes: dict[str, Outcome]
    canonical: dict[str, Row]


def one_answer(bundle: Bundle, seed: int) -> list[Result]:
    """Run the drill; return one result for each kind of source."""
    return [_drill(source, bundle, seed) for source in raw_rows.SOURCES]


def _drill(source: str, bundle: Bundle, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as scratch:
        judged = judge(source, ROWS, seed, Path(scratch))
        with serve(judged, bundle.path, Path(scratch)) as ask:
            sent, wrong = compare(judged, ask, seed)
    for line in wrong[:10]:
        print(f"  {source}: {line}")
    return Result(
        0, f"raw rows of {source}", "every kind of column, token and offset", sent, len(wrong),
        "one answer or one refusal by collect … evaluate, /predict, /v2 as JSON and binary, and gRPC, bit for bit", not wrong,
    )  # fmt: skip


def judge(source: str, count: int, seed: int, directory: Path) -> Judged:
    """Run the stages on newly drawn rows, in a directory."""
    rows = raw_rows.drawn(source, count, seed)
    raw_rows.write(source, rows, directory)
    params = Params.model_validate(raw_rows.declared(source, count))
    with chdir(directory):
        learn(params)
        accepted, aside = (
            tables.read(paths.accepted(raw_rows.MONTH)),
            tables.read(paths.QUARANTINED / f"{raw_rows.MONTH}.parquet"),
        )
        predictor = Predictor.load(paths.BOOSTED)
        scores = predictor.score_table(tables.columns_of(accepted, [field.name for field in predictor.schema.fields]))
    outcomes: dict[str, Outcome] = {
        name: ("answer", float(score).hex()) for name, score in zip(accepted["order"], scores, strict=True)
    }
    for name, reasons in aside.select("order", checks.REASONS).iter_rows():
        outcomes[name] = ("refused", sorted({reason.partition(":")[2] for reason in reasons}))
    canonical = {row["order"]: row for row in accepted.to_dicts()}
    return Judged(directory, raw_rows.read_back(source, rows), outcomes, canonical)


def learn(params: Params) -> None:
    """Run the stages up to the model."""
    collect.run(params, raw_rows.MONTH)
    deliver(params.data, params.target, params.validate_.budget, raw_rows.MONTH)
    features.run(params)
    train.run(params)


@contextmanager
def serve(judged: Judged, template: Path, scratch: Path) -> Iterator[dict[str, Ask]]:
    """Serve the judged model with the template's code; yield by protocol a function that asks it."""
    make_bundle(judged.directory / paths.BOOSTED, template, scratch / "made")
    (scratch / "server").mkdir()
    with servers.ours(Bundle(scratch / "made"), scratch / "server") as server:
        http, channel = HTTPConnection("127.0.0.1", server.port), GrpcChannel(f"127.0.0.1:{server.grpc_port}")
        with closing(http), channel:
            yield {
                "/predict": partial(_predict, http),
                "/v2 JSON": partial(_infer_json, http),
                "/v2 binary": partial(_infer_binary, http, count=1),
                "/v2 binary, many": partial(_infer_binary, http, count=MANY),
                "gRPC": partial(_infer_grpc, channel),
            }


def compare(judged: Judged, ask: Mapping[str, Ask], seed: int) -> tuple[int, list[str]]:
    """Return the number of requests, and the answers that differ from `evaluate`'s score, without values of rows."""
    chance, sent, wrong = random.Random(seed), 0, []
    for row in judged.rows:
        expected = judged.outcomes[row["order"]]
        request = _request(row, judged.canonical.get(row["order"]), chance)
        for protocol, send in ask.items():
            sent += 1
            if (found := send(request)) != expected:
                wrong.append(f"{protocol}, row {row['order']}: {found}, not {expected}")
    return sent, wrong


def _request(row: Row, canonical: Row | None, chance: random.Random) -> Row:
    """Return the row as in the source, or at random with columns of the source under their declared names."""
    request = {name: sendable(value) for name, value in row.items() if name not in _NOT_SENT}
    if chance.random() < 0.3:
        request["shop"] = request.pop("Shop Name")
    if canonical and canonical["moment"] is not None and chance.random() < 0.3:
        del request["day"], request["hour"]
        request["moment"] = canonical["moment"].isoformat()
    return request


def sendable(value: Any) -> Any:
    """Return a value of a table as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value != value else value


def _outcome(probability: float | None, refusal: str) -> Outcome:
    if probability is not None:
        return "answer", probability.hex()
    return "refused", sorted({_OF_PARTS.get(name, name) for name in _FIELD.findall(refusal)})


def _post(connection: HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def _predict(connection: HTTPConnection, row: Row) -> Outcome:
    status, answer = _post(
        connection, "/predict", json.dumps({"rows": [row]}).encode(), {"Content-Type": "application/json"}
    )
    if status == 200:
        return _outcome(answer["predictions"][0]["probability"], "")
    return _outcome(None, " ".join(f"field {problem['field']!r}" for problem in answer["error"]["details"]))


def _tensors(row: Row) -> Iterator[tuple[str, str, Any]]:
    """Yield name, datatype and value of each field that has one."""
    for name, value in row.items():
        if value is not None:
            datatype = {bool: "BOOL", int: "INT64", float: "FP64"}.get(type(value), "BYTES")
            yield name, datatype, value


def _infer(connection: HTTPConnection, body: bytes, headers: dict[str, str]) -> Outcome:
    status, answer = _post(connection, "/v2/models/anything/infer", body, headers)
    if status != 200:
        return _outcome(None, answer["error"])
    (probabilities,) = (output["data"] for output in answer["outputs"] if output["name"] == "probability")
    (probability,) = set(probabilities)
    return _outcome(probability, "")


def _infer_json(connection: HTTPConnection, row: Row) -> Outcome:
    inputs = [
        {"name": name, "datatype": datatype, "shape": [1], "data": [value]} for name, datatype, value in _tensors(row)
    ]
    return _infer(connection, json.dumps({"inputs": inputs}).encode(), {})


def _infer_binary(connection: HTTPConnection, row: Row, count: int) -> Outcome:
    parts = [(name, datatype, wire(datatype, value) * count) for name, datatype, value in _tensors(row)]
    inputs = [
        {"name": name, "datatype": datatype, "shape": [count], "parameters": {"binary_data_size": len(part)}}
        for name, datatype, part in parts
    ]
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return _infer(connection, head + b"".join(part for *_, part in parts), headers)


def _infer_grpc(channel: GrpcChannel, row: Row) -> Outcome:
    request = oip_pb2.ModelInferRequest(model_name="anything")
    for name, datatype, value in _tensors(row):
        request.inputs.add(name=name, datatype=datatype, shape=[1])
        request.raw_input_contents.append(wire(datatype, value))
    try:
        answer = oip_pb2.ModelInferResponse.FromString(channel.call(_INFER, request.SerializeToString(), {}))
    except RefusedError as error:
        return _outcome(None, str(error))
    names = [output.name for output in answer.outputs]
    (probability,) = struct.unpack("<d", answer.raw_output_contents[names.index("probability")])
    return _outcome(probability, "")


def make_bundle(model: Path, template: Path, target: Path) -> None:
    """Make a bundle of the template with this model, its schema, reference, golden answers, limits and manifest."""
    shutil.copytree(template, target)
    artifact = target / manifest.ARTIFACT
    for name in (MODEL_FILE_NAME, schema.FILE_NAME, reference.FILE_NAME):
        shutil.copyfile(model / name, artifact / name)
    (artifact / GOLDEN_FILE_NAME).write_bytes(canonical_json(golden_cases(Predictor.load(artifact))))
    assert (artifact / limits.FILE_NAME).is_file()
    (target / manifest.FILE_NAME).unlink()
    claims = replace(manifest.read(template), name="anything", files=manifest.tree_digests(target))
    (target / manifest.FILE_NAME).write_bytes(claims.to_bytes())
