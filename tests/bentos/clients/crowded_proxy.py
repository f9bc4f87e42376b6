"""Envoy before a server: it lets one request through at a time and answers the rest as one that has too much to do."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import PROJECT

ENVOY = PROJECT / ".venv" / "fleet" / "bin" / "envoy"
_TYPES = "type.googleapis.com/envoy"
_EXTENSIONS = f"{_TYPES}.extensions"


@contextmanager
def crowded_proxy(
    directory: Path, ports: tuple[int, int], upstream: tuple[int, int], *, refill_s: float, retry_after_s: int
) -> Iterator[Path]:
    """Listens on the ports (HTTP, gRPC) before those of the server.

    Gives its log, a line `HTTP status/gRPC status` for each answer; complete once the proxy has ended.
    """
    log, config = directory / "answers.log", directory / "envoy.json"
    limit = _limit(refill_s, retry_after_s)
    clusters = [_cluster(port, http2=http2) for http2, port in enumerate(upstream)]
    listeners = [_listener(port, target, limit, log) for port, target in zip(ports, upstream, strict=True)]
    config.write_text(json.dumps({"static_resources": {"clusters": clusters, "listeners": listeners}}))
    command = [ENVOY, "-c", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
    process = subprocess.Popen(command, cwd=directory)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _limit(refill_s: float, retry_after_s: int) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100}}
    return {
        "@type": f"{_EXTENSIONS}.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "crowd",
        "status": {"code": "ServiceUnavailable"},
        "token_bucket": {"max_tokens": 1, "fill_interval": f"{refill_s}s"},
        "filter_enabled": always,
        "filter_enforced": always,
        "rate_limited_as_resource_exhausted": True,
        "response_headers_to_add": [
            {"header": {"key": "retry-after", "value": str(retry_after_s)}},
            {"header": {"key": "grpc-retry-pushback-ms", "value": str(1000 * retry_after_s)}},
        ],
    }


def _cluster(port: int, *, http2: bool) -> dict[str, Any]:
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    options = f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": str(port),
        "load_assignment": {"cluster_name": str(port), "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {protocol: {}},
            }
        },
    }


def _listener(port: int, target: int, limit: dict[str, Any], log: Path) -> dict[str, Any]:
    line = {"text_format_source": {"inline_string": "%RESPONSE_CODE%/%GRPC_STATUS%\n"}}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": str(port),
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{_EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": line,
                },
            }
        ],
        "http_filters": [
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": limit},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
            },
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": str(target)}}],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": str(port), "address": _address(port), "filter_chains": [chain]}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
