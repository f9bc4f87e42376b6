#!/usr/bin/env bash
# ruamel.yaml 0.19: installing its parser in C (ruamel.yaml.clib) changes which files can be read. `YAML(typ="safe")` takes that parser wherever
# it is there, and it refuses a URL, or a time such as 12:30, without quotes in `{…}` or `[…]`, which the parser in Python reads.
# DVC reads dvc.yaml and params.yaml that way, so the same params.yaml works on one machine and not on another. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
install() { "$work/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: "$@"; }
read_all() {
  "$work/venv/bin/python" - "$@" <<'PYTHON'
import sys
from importlib.metadata import version

from ruamel.yaml import YAML, YAMLError
import ruamel.yaml

print(f"ruamel.yaml {version('ruamel.yaml')}, parser in C: {ruamel.yaml.__with_libyaml__}")
refused = []
for text in ("source: {path: s3://bucket/table.csv}", "source: {path: 's3://bucket/table.csv'}", "source:\n  path: s3://bucket/table.csv", "at: [12:30]"):
    try:
        print(f"  {text!r} -> {YAML(typ='safe').load(text)}")
    except YAMLError as error:
        refused.append(text)
        print(f"  {text!r} -> {type(error).__name__}: {error.problem}")
sys.exit(len(refused) != int(sys.argv[1]))
PYTHON
}
install ruamel.yaml==0.19.1
read_all 0
install ruamel.yaml.clib==0.2.15
read_all 2
