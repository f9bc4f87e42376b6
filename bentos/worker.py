"""`python -m bentos.worker BUNDLE --fd N …`: the process that serves, in place of BentoML's own worker and with the same options.

`bentoml serve` starts it with the listening socket and restarts it when it dies (`bentos.service`). A fleet starts it itself, with all of
its sockets (`--grpc-fd`, `--admin-fd`), which may be Unix sockets. It does not import BentoML, which takes 60 MB and a second of every
start, for pages that take fewer lines here than hooks into BentoML would.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from bentos import LOADED, STARTED_IN, tell
from bentos.core import Core
from bentos.guards.access import Access
from bentos.protocols.connections import addresses, tls
from bentos.protocols.connections.listener import BACKLOG
from bentos.protocols.grpc.server import GrpcServer
from bentos.protocols.http.http1.door import KEEP_ALIVE_S
from bentos.protocols.http.pages.pages import PATHS, PROBES
from bentos.protocols.http.server import HttpServer
from contract import api_keys, command_line, cors
from contract.environment import slices
from contract.errors import BundleError, ConfigurationError

_NUMBERS = (
    "fd", "grpc-fd", "admin-fd",
    "backlog", "ssl-version", "ssl-cert-reqs", "timeout-keep-alive", "timeout-graceful-shutdown",
)  # fmt: skip
_TEXTS = ("ssl-certfile", "ssl-keyfile", "ssl-keyfile-password", "ssl-ca-certs", "ssl-ciphers")
# For dependent services, tasks and BentoML's own time limit, none of which exist here.
_IGNORED = ("service-name", "worker-id", "worker-env", "runner-map", "args", "timeout")
_IGNORED_FLAG = "--development-mode"


def options(words: Sequence[str]) -> SimpleNamespace:
    """Parse the bundle and then the options that BentoML's supervisor passes; what is not given is None.

    `argparse` would take 4 ms of each start.

    Raises:
        ConfigurationError: an option is unknown, which might be there to protect the server; it has a wrong value; or one is missing.
    """
    found: dict[str, Any] = dict.fromkeys((*_NUMBERS, *_TEXTS, *_IGNORED))
    bundle, *given = [word for word in words if word != _IGNORED_FLAG] or [""]
    if bundle.startswith("-") or not bundle:
        raise ConfigurationError("a worker needs a bundle, before its options")
    if len(given) % 2:
        raise ConfigurationError(f"{given[-1]!r} has no value, or is no option of a worker")
    for option, text in zip(given[::2], given[1::2], strict=True):
        name = option.removeprefix("--")
        if name not in found or name == option:
            raise ConfigurationError(f"{option!r} is no option of a worker")
        if name in _NUMBERS and not text.isdecimal():
            raise ConfigurationError(f"{option} must be a whole number, not {text!r}")
        found[name] = int(text) if name in _NUMBERS else text
    if found["fd"] is None:
        raise ConfigurationError("a worker needs a socket: --fd")
    return SimpleNamespace(bundle=Path(bundle).absolute(), **{name.replace("-", "_"): found[name] for name in found})


async def serve(core: Core, given: SimpleNamespace) -> None:
    """Serve both protocols until SIGTERM or SIGINT, then drain: requests in flight get `drain_s` seconds."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    listening = socket.socket(fileno=given.fd)
    context, keep_alive_s = tls.context(vars(given), "http/1.1"), given.timeout_keep_alive or KEEP_ALIVE_S
    shared_with, backlog = cors.read(os.environ), given.backlog or BACKLOG
    pages = PROBES if addresses.admin(os.environ) else PATHS
    http = HttpServer(core, listening, context, keep_alive_s, backlog, pages, shared_with)
    admin = _admin_socket(given.admin_fd)
    beside = [HttpServer(core, admin, context, keep_alive_s)] if admin else []
    grpc = GrpcServer(core, _grpc_socket(given.grpc_fd, listening), tls.context(vars(given), "h2"))
    servers: list[HttpServer | GrpcServer] = [grpc, *beside, http]
    for server in servers:
        await server.start()
    core.begin(os.environ)
    _settle()
    await stop.wait()
    core.ready = False
    drain_s = given.timeout_graceful_shutdown or core.limits.drain_s
    await asyncio.gather(*(server.stop(drain_s) for server in servers))
    core.end()


def _grpc_socket(given: int | None, http: socket.socket) -> socket.socket:
    """Return the given socket, or one at the environment's address."""
    if given is not None:
        return socket.socket(fileno=given)
    return addresses.listen(addresses.grpc(os.environ, str(http.getsockname()[0])), "GRPC")


def _admin_socket(given: int | None) -> socket.socket | None:
    """Return the socket of the admin pages: the given one, or one at the environment's address; None if neither is set."""
    if given is not None:
        return socket.socket(fileno=given)
    address = addresses.admin(os.environ)
    return addresses.listen(address, "ADMIN") if address else None


def _settle() -> None:
    """Exempt the loaded objects from garbage collection, return the 10 MB that only loading needed to the system, and answer promptly.

    Not before: what starts must not go before what serves.
    """
    gc.freeze()  # without a collection before it: that takes 11 ms of the start, and finds some hundred objects
    gc.enable()  # a serving environment turns it off for the start (`contract.environment.pruning`)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim:
        trim(0)
    slices.shorten()


def main() -> int:
    """Serve until told to stop, and return the exit code (see `contract.errors`)."""
    logging.basicConfig(format="%(asctime)s [%(levelname)s] [worker] %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    code = command_line.run(lambda: _serve(options(sys.argv[1:])), stopped="this bundle cannot be served")
    if code == BundleError.exit_code:
        tell(bytes([code]))  # only now that the reason is printed, since it ends the supervisor, and so this process
    return code


def _serve(given: SimpleNamespace) -> int:
    # So that a relative path, in an option or a setting, is the file that the supervisor has checked.
    os.chdir(os.environ.get(STARTED_IN, "."))
    core = Core.load(given.bundle)
    tell(LOADED)
    if keys := api_keys.file_named(os.environ):
        core.access = Access(keys)
    uvloop.run(serve(core, given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
