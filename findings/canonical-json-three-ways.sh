#!/usr/bin/env bash
# "Canonical JSON" is three languages: RFC 8785 (rfc8785 0.1.4), OLPC's of in-toto and TUF (securesystemslib 1.6), and Python's
# `sort_keys=True, separators=(",", ":")`. They agree on plain records only. OLPC's has no fractions and leaves a line break as it is, which is no
# JSON; RFC 8785 sorts keys as UTF-16 and writes 1.0 as 1. So a digest names its language, and who verifies hashes the bytes as they came.
# Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rfc8785==0.1.4 securesystemslib==1.6.0
"$work/venv/bin/python" - <<'PYTHON'
import json
import sys

import rfc8785
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical


def olpc(value):
    try:
        return encode_canonical(value).encode()
    except FormatError:
        return b"refused"


def python(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


values = {
    "a record": {"name": "flights", "rows": 336_776},
    "a fraction": {"auc": 1.0},
    "a line break": {"note": "two\nlines"},
    "keys beyond 16 bits": {"\ufb33": 1, "\U0001f600": 2},
}
found = {name: (rfc8785.dumps(value), olpc(value), python(value)) for name, value in values.items()}
for name, texts in found.items():
    print(f"{name}: RFC 8785 {texts[0]!r}, OLPC {texts[1]!r}, Python {texts[2]!r}")
try:
    json.loads(found["a line break"][1])
    is_json = True
except ValueError:
    is_json = False
print(f"OLPC's line break is JSON: {is_json}")
equal = {name: [len({*map(texts.__getitem__, pair)}) == 1 for pair in ((0, 1), (0, 2), (1, 2))] for name, texts in found.items()}
expected = {
    "a record": [True, True, True],
    "a fraction": [False, False, False],
    "a line break": [False, True, False],
    "keys beyond 16 bits": [False, False, True],
}
sys.exit(is_json or equal != expected or found["a fraction"] != (b'{"auc":1}', b"refused", b'{"auc":1.0}'))
PYTHON
