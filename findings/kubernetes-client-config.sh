#!/usr/bin/env bash
# The official Kubernetes client reads KUBECONFIG when it is imported, not when it loads a configuration; and `load_config(context=…)`,
# which chooses between a kubeconfig and a pod's own account, ends in a TypeError where there is no kubeconfig, since it passes the context on.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check kubernetes==37.0.2
HOME=$directory "$directory/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import json
import os
from pathlib import Path

from kubernetes import client, config


def outcome(load, *given, **named):
    try:
        load(*given, **named, client_configuration=client.Configuration())
    except Exception as error:
        return type(error).__name__
    return "loaded"


path = Path(os.environ["HOME"]) / "kubeconfig"
path.write_text(json.dumps({
    "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
}))
os.environ["KUBECONFIG"] = str(path)
found = {
    "set after the import": outcome(config.load_kube_config),
    "given": outcome(config.load_kube_config, str(path)),
    "load_config(context=None)": outcome(config.load_config, context=None),
}
print("\nkubernetes", importlib.metadata.version("kubernetes"), found)
assert found == {"set after the import": "ConfigException", "given": "loaded", "load_config(context=None)": "TypeError"}, "changed"
PYTHON
