"""`python -m tests.fleet.crowds.grpc_load ADDRESS BUNDLE PAUSE_S`, in the client environment: ask over gRPC until
standard input ends, then report.

Prints `ready` after the first answer, and at the end one line of JSON: `answers` by model version, and `failures`.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from contract.bundle import manifest
from tests.bentos.clients.triton_client import inputs


def main(address: str, bundle: Path, pause_s: float) -> None:
    artifact = bundle / manifest.ARTIFACT
    schema = json.loads((artifact / "schema.json").read_bytes())
    golden = json.loads((artifact / manifest.GOLDEN_FILE_NAME).read_bytes())[0]
    row, probability = golden["row"], golden["answer"]["probability"]
    kinds = {field["name"]: field["kind"] for field in schema["fields"] if field["name"] in row}
    tensors = inputs(triton, {"fields": kinds, "rows": [row]})
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    answers: Counter[str] = Counter()
    failures: list[str] = []
    client = triton.InferenceServerClient(address)
    while not ended.is_set():
        try:
            answer = client.infer(schema["name"], tensors, client_timeout=10)
            if answer.as_numpy("probability").tolist() == [probability]:
                answers[answer.get_response().model_version] += 1
            else:
                failures.append("the answer is not the golden one")
        except InferenceServerException as error:
            failures.append(f"{error.status()}: {error.message()}")
        if sum(answers.values()) + len(failures) == 1:
            print("ready", flush=True)
        ended.wait(pause_s)
    print(json.dumps({"answers": answers, "failures": failures}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
