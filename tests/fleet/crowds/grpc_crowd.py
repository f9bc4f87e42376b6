"""`python -m tests.fleet.crowds.grpc_crowd ADDRESS BUNDLE COUNT`, in the client environment: a crowd that asks at once over gRPC.

Prints `ready` when it is connected, asks when it is told to by a line on standard input, prints the code of each call as it ends, and at
last the counts as JSON. An answer that is not the golden one counts as `WRONG`.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path

import tritonclient.grpc as triton

from contract.bundle import manifest
from tests.bentos.clients.triton_client import inputs


def main(address: str, bundle: Path, count: int) -> None:
    artifact = bundle / manifest.ARTIFACT
    schema = json.loads((artifact / "schema.json").read_bytes())
    golden = json.loads((artifact / manifest.GOLDEN_FILE_NAME).read_bytes())[0]
    kinds = {field["name"]: field["kind"] for field in schema["fields"] if field["name"] in golden["row"]}
    tensors = inputs(triton, {"fields": kinds, "rows": [golden["row"]]})
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    codes: Counter[str] = Counter()
    all_ended = threading.Event()

    def ended(result: triton.InferResult | None, error: Exception | None) -> None:
        if result is not None:
            right = result.as_numpy("probability").tolist() == [golden["answer"]["probability"]]
            code = "OK" if right else "WRONG"
        else:
            code = str(error.status()).removeprefix("StatusCode.")
        print(code, flush=True)
        codes[code] += 1
        if sum(codes.values()) == count:
            all_ended.set()

    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        client.async_infer(schema["name"], tensors, ended, client_timeout=100)
    assert all_ended.wait(110)
    print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
