"""`python -m bentos.worker BUNDLE --fd N …`: the process that answers, in place of BentoML's own worker, with the same options.

`bentoml serve` starts it, gives it the listening socket, and starts it again when it dies: see `bentos.service`. It imports nothing of
BentoML's, which would be 60 MB and a second of every start, for pages that are made here in fewer lines than it takes to hook into.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from bentos.access import Access
from bentos.bentoml_pages import Pages
from bentos.core import Core
from bentos.grpc_server import GrpcServer
from bentos.http_app import HttpApp
from bentos.http_protocol import protocol_for
from bentos.tls import Tls
from contract import api_keys
from contract.errors import ConfigurationError

GRPC_PORT = 3001
_WHOLE_NUMBERS = ("backlog", "ssl-version", "ssl-cert-reqs", "timeout-keep-alive", "timeout-graceful-shutdown")
_TEXTS = ("ssl-certfile", "ssl-keyfile", "ssl-keyfile-password", "ssl-ca-certs", "ssl-ciphers")
# uvloop takes one connection a round of the event loop from each socket that listens. That is too few where rounds are long, but some
# bound is right: to take a connection costs as much as an answer.
_ACCEPTED_AT_ONCE = 16
# Of services that depend on each other, of tasks and of BentoML's own time limit: nothing here has any.
_IGNORED = ("service-name", "worker-id", "worker-env", "runner-map", "args", "timeout")


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What BentoML's supervisor tells a worker. An option that is not known ends the process: it may be meant to guard the server."""
    parser = argparse.ArgumentParser(prog="python -m bentos.worker", allow_abbrev=False)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--development-mode", action="store_true")
    for name in _WHOLE_NUMBERS:
        parser.add_argument(f"--{name}", type=int)
    for name in (*_TEXTS, *_IGNORED):
        parser.add_argument(f"--{name}")
    return parser.parse_args(arguments)


def grpc_address(environment: Mapping[str, str], http: socket.socket) -> tuple[str, int]:
    """Host and port for gRPC: `BULKHEAD_GRPC_HOST` (default: where HTTP listens) and `BULKHEAD_GRPC_PORT` (3001).

    Raises:
        ConfigurationError: the port is not one.
    """
    port = environment.get("BULKHEAD_GRPC_PORT", str(GRPC_PORT))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError("BULKHEAD_GRPC_PORT must be a port, 1 to 65535")
    return environment.get("BULKHEAD_GRPC_HOST") or str(http.getsockname()[0]), int(port)


class Life:
    """The application that uvicorn runs: gRPC from its start to its end, by the lifespan protocol of ASGI, and its pages in between."""

    def __init__(self, core: Core, pages: Pages, grpc: Callable[[], GrpcServer]) -> None:
        self._core = core
        self._pages = pages
        self._grpc = grpc

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._pages(scope, receive, send)
            return
        await receive()
        grpc = self._grpc()
        await grpc.start()
        self._core.admission.call_soon = asyncio.get_running_loop().call_soon
        self._core.ready = True
        _settle()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._core.ready = False
        await grpc.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _settle() -> None:
    """What lives by now lives on: the collector need not look at it again with every request. What loading needed goes back, 10 MB."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim:
        trim(0)


def main() -> None:
    given = options()
    logging.basicConfig(format="%(asctime)s [%(levelname)s] [worker] %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    http = socket.socket(fileno=given.fd)
    core = Core.load(given.bundle)
    if keys := api_keys.file_named(os.environ):
        core.access = Access(keys)
    tls = Tls.from_options(vars(given))
    address = grpc_address(os.environ, http)
    credentials = tls.grpc_credentials() if tls else None
    app = HttpApp(core)
    asked = {
        name: value
        for name, value in vars(given).items()
        if value is not None and name.startswith(("ssl_", "timeout_", "backlog"))
    }
    config = uvicorn.Config(
        Life(core, Pages(core, app.headers), lambda: GrpcServer(core, *address, credentials)),
        http=protocol_for(app),
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **asked,
    )
    uvicorn.Server(config).run(sockets=[http, *(http.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))])


if __name__ == "__main__":
    main()
