"""Clients that generators make from the OpenAPI document: they ask a server, and read what it says."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT
from tests.bentos.conftest import Case
from tests.bentos.running import Server

TOOLS = PROJECT / ".venv" / "generators" / "bin"
ASK = """
import json, sys
import client
from client.api.health import livez
from client.api.open_inference_protocol import infer, infer_of_version, model_config, model_metadata, model_ready, repository_index
from client.api.open_inference_protocol import server_live, server_metadata, server_ready
from client.api.predict import predict
from client.models import InferRequest, PredictRequest

address, row, tensors, version = sys.argv[1], *map(json.loads, sys.argv[2:5])
server = client.Client(base_url=address)
said = predict.sync(client=server, body=PredictRequest.from_dict({"rows": [row]}))
empty = predict.sync(client=server, body=PredictRequest(rows=[]))
request = InferRequest.from_dict({"inputs": tensors, "id": "7"})
inferred = infer.sync(client=server, body=request)
pinned = infer_of_version.sync(version, client=server, body=request)
unknown = infer_of_version.sync("0" * 64, client=server, body=request)
asked = [ask.sync(client=server) for ask in (server_metadata, server_live, server_ready, model_metadata, model_ready, model_config)]
print(json.dumps({
    "prediction": said.to_dict()["predictions"][0],
    "empty": empty.to_dict()["predictions"],
    "inferred": inferred.to_dict(),
    "pinned": pinned.to_dict() == inferred.to_dict(),
    "unknown": type(unknown).__name__,
    "asked": [answer.to_dict() for answer in asked],
    "index": [entry.to_dict() for entry in repository_index.sync(client=server)],
    "live": livez.sync_detailed(client=server).status_code,
}))
"""
READ = """
import json, sys
import models
for name, content in json.loads(sys.stdin.read()):
    made = getattr(models, name).model_validate(content)
    assert json.loads(made.model_dump_json(exclude_unset=True)) == content, name
"""


@pytest.fixture(scope="module")
def document(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not TOOLS.exists():
        pytest.skip(f"{TOOLS} is not there; `make .venv/generators/installed.txt` makes it")
    path = tmp_path_factory.mktemp("openapi") / "docs.json"
    path.write_bytes(urllib.request.urlopen(f"http://{server.http}/docs.json").read())
    return path


def run(command: list[str | Path], directory: Path, text: str = "") -> str:
    """What a tool prints; others of that environment are found by it."""
    variables = {"PATH": f"{TOOLS}:/usr/bin:/bin", "HOME": str(directory)}
    done = subprocess.run(
        command, cwd=directory, env=variables, input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tensors(case: Case) -> list[dict[str, Any]]:
    datatypes = {"number": "FP64", "boolean": "BOOL"}
    return [
        {"name": field.name, "datatype": datatypes.get(field.kind, "BYTES"), "shape": [1], "data": [case.row.get(field.name)]}
        for field in case.schema.fields
    ]  # fmt: skip


def test_document_is_valid(document: Path) -> None:
    assert "OK" in run([TOOLS / "openapi-spec-validator", document], document.parent)


def test_no_name_in_a_generated_client_depends_on_the_version(document: Path, case: Case) -> None:
    content = json.loads(document.read_bytes())
    operations = [operation for path in content["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) > 10
    assert not any(case.version[:8] in name for name in [*names, *content["components"]["schemas"], *content["paths"]])
    assert {tag for operation in operations for tag in operation["tags"]} == {tag["name"] for tag in content["tags"]}
    assert content["servers"] == [{"url": "/"}]


def test_client_of_openapi_python_client_gets_the_golden_answer(document: Path, server: Server, case: Case) -> None:
    directory = document.parent
    generate = [TOOLS / "openapi-python-client", "generate", "--path", document, "--output-path", directory / "client"]
    run([*generate, "--meta", "none", "--fail-on-warning"], directory)
    (directory / "ask.py").write_text(ASK)
    arguments = [json.dumps(value) for value in (case.row, tensors(case), case.version)]
    found = json.loads(run([TOOLS / "python", "ask.py", f"http://{server.http}", *arguments], directory))
    expected = case.answers[0]
    assert found["prediction"] == expected
    assert (found["pinned"], found["unknown"], found["empty"], found["live"]) == (True, "OipError", [], 200)
    assert found["inferred"]["outputs"][0]["data"] == [expected["probability"]]
    metadata, live, ready, model, _, config = found["asked"]
    assert (metadata["name"], live, ready) == ("bulkhead", {"live": True}, {"ready": True})
    assert [entry["name"] for entry in model["inputs"]] == [entry["name"] for entry in config["input"]]
    assert found["index"][0]["version"] == case.version


def test_models_of_datamodel_code_generator_read_what_the_server_says(
    document: Path, server: Server, case: Case
) -> None:
    directory = document.parent
    command = [
        TOOLS / "datamodel-codegen",
        "--input",
        document,
        "--input-file-type",
        "openapi",
        "--output",
        "models.py",
    ]
    run([*command, "--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin"], directory)
    name = json.loads(document.read_bytes())["info"]["title"]
    contents: list[tuple[str, Any]] = [
        ("PredictRequest", {"rows": [case.row]}),
        ("InferRequest", {"inputs": tensors(case), "id": None, "outputs": [{"name": "label"}]}),
        ("PredictResponse", answer(server, "/predict", {"rows": case.rows})),
        ("Error", answer(server, "/predict", {"rows": [{}]})),
        ("InferResponse", answer(server, f"/v2/models/{name}/infer", {"inputs": tensors(case), "id": "7"})),
        ("OipError", answer(server, f"/v2/models/{name}/infer", {})),
        ("ServerMetadata", answer(server, "/v2")),
        ("ModelMetadata", answer(server, f"/v2/models/{name}")),
        ("ModelConfig", answer(server, f"/v2/models/{name}/config")),
        ("ModelReady", answer(server, f"/v2/models/{name}/ready")),
    ]
    run([TOOLS / "python", "-c", READ], directory, json.dumps(contents))


def answer(server: Server, path: str, value: Any = None) -> Any:
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"http://{server.http}{path}", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())
