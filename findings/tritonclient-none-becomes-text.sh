#!/usr/bin/env bash
# tritonclient 2.73: a missing value in an array of text is sent as a word. `None` becomes "None" and NaN "nan", over HTTP and gRPC, as JSON and
# binary, so a model gets a category that it has never seen, or, where a table spells it so, a real one. The protocol's BYTES have no null: send an
# empty string, or leave the tensor out. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'tritonclient[all]==2.73.0'
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import deserialize_bytes_tensor

names = np.array(["ada", None, float("nan")], dtype=object)


def sent(client, **how):
    tensor = client.InferInput("name", [3], "BYTES")
    tensor.set_data_from_numpy(names, **how)
    return tensor


found = {
    "HTTP, JSON": sent(tritonclient.http, binary_data=False)._get_tensor()["data"],
    "HTTP, binary": [each.decode() for each in deserialize_bytes_tensor(sent(tritonclient.http)._raw_data)],
    "gRPC": [each.decode() for each in deserialize_bytes_tensor(sent(tritonclient.grpc)._raw_content)],
}
for way, texts in found.items():
    print(f"{way}: {texts}")
sys.exit(set(map(tuple, found.values())) != {("ada", "None", "nan")})
PYTHON
