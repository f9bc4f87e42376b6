"""Peer model servers, started as their documents say: one worker, no access log, pinned to the core that ours has."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import PROJECT, interpreter, servers
from harness.bundles import Bundle
from harness.ports import free_ports
from harness.servers import OURS, Server, Starter

MLSERVER = "MLServer"
LITSERVE = "LitServe"
RAY = "Ray Serve"
NGINX = "nginx"
NGINX_PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MODEL = "flights"


@contextmanager
def mlserver(bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run MLServer with a custom runtime; `parallel_workers` 0, its fastest for a small model, keeps the model in the answering process."""
    port, grpc_port, metrics_port = free_ports(3)
    directory = scratch / "mlserver"
    directory.mkdir(exist_ok=True)
    ports = {"http_port": port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "gzip_enabled": False, **ports}
    model = {"name": MODEL, "implementation": "benchmarks.peers.mlserver.model.Booster"}
    (directory / "settings.json").write_text(json.dumps(settings))
    (directory / "model-settings.json").write_text(json.dumps(model))
    environment = servers.clean_environment() | {"PEER_MODEL": str(bundle.model), "PYTHONPATH": str(PROJECT)}
    command = [str(interpreter("mlserver").with_name("mlserver")), "start", str(directory)]
    with servers.started(
        *(MLSERVER, command, environment, scratch, port),
        cwd=directory,
        grpc_port=grpc_port,
        ready_path=f"/v2/models/{MODEL}/ready",
    ) as server:
        yield server


@contextmanager
def litserve(bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run LitServe with one worker: one process for HTTP and one for the model, its only layout."""
    (port,) = free_ports(1)
    command = [str(interpreter("litserve")), "-m", "benchmarks.peers.litserve.app", str(port)]
    environment = servers.clean_environment() | {"PEER_MODEL": str(bundle.model)}
    with servers.started(LITSERVE, command, environment, scratch, port, cwd=PROJECT, ready_path="/health") as server:
        yield server


@contextmanager
def ray(bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run Ray Serve with one replica, in a cluster of its own on this machine: some ten processes."""
    (port,) = free_ports(1)
    command = [str(interpreter("ray")), "-m", "benchmarks.peers.ray.app", str(port), str(scratch / "ray")]
    settings = {"PEER_MODEL": str(bundle.model), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with servers.started(RAY, command, servers.clean_environment() | settings, scratch, port, cwd=PROJECT) as server:
        yield server


@contextmanager
def nginx(_: Bundle, scratch: Path) -> Iterator[Server]:
    """Run nginx with one worker, which answers a constant: the limit for any server."""
    (port,) = free_ports(1)
    settings = scratch / "nginx.conf"
    template = PROJECT / "benchmarks/peers/fleet/nginx.conf"
    settings.write_text(template.read_text().replace("PORT", str(port)).replace("SCRATCH", str(scratch)))
    command = [NGINX_PROGRAM or "nginx", "-c", str(settings), "-e", "stderr"]
    with servers.started(NGINX, command, servers.clean_environment(), scratch, port, cwd=scratch) as server:
        yield server


STARTERS: dict[str, Starter] = {
    OURS: servers.ours,
    MLSERVER: mlserver,
    LITSERVE: litserve,
    RAY: ray,
    NGINX: nginx,
}
