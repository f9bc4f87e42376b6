"""The BentoML service: starts both front ends over one core. `bentoml serve` and `bentoml build` import this module.

Everything that only a worker needs is imported inside functions: the supervisor of `bentoml serve` imports this module too, and is
40 MB smaller without a model runtime.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
import click

from bentos import tracing
from bentos.tls import Tls
from contract import api_keys, log_settings, manifest
from contract.errors import BundleError, ConfigurationError

if TYPE_CHECKING:
    from bentos.bentoml_pages import Application
    from bentos.core import Core

BUNDLE = Path(__file__).resolve().parents[2]
GRPC_PORT = 3001
_BENTOML_TIMEOUT_S = 10  # of BentoML's own pages; it keeps each of their requests in memory for as long


def check_bundle() -> None:
    """Raises BundleError unless this code lies in a bundle; `bentoml serve` asks before it starts a worker."""
    if not (BUNDLE / manifest.FILE_NAME).is_file():
        raise BundleError(
            f"{BUNDLE} has no {manifest.FILE_NAME}: this service runs inside of a built bundle only. "
            "Build one with `dvc repro`, then run `bentoml serve` on its directory"
        )


@cache
def core() -> Core:
    """The one core of this process."""
    from bentos.access import Access
    from bentos.core import Core

    check_bundle()
    loaded = Core.load(BUNDLE)
    if keys := api_keys.file_named(os.environ):
        loaded.access = Access(keys)
    return loaded


def _options() -> dict[str, Any]:
    """The options of the command that this process runs: `bentoml serve`, or the worker that it starts with them."""
    context = click.get_current_context(silent=True)
    return dict(context.params) if context else {}


def grpc_address() -> tuple[str, int]:
    """Host and port for gRPC: `BULKHEAD_GRPC_HOST` (default: where HTTP listens) and `BULKHEAD_GRPC_PORT` (3001).

    Raises:
        ConfigurationError: the port is not one.
    """
    port = os.environ.get("BULKHEAD_GRPC_PORT", str(GRPC_PORT))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError("BULKHEAD_GRPC_PORT must be a port, 1 to 65535")
    return os.environ.get("BULKHEAD_GRPC_HOST") or _http_host(), int(port)


def _http_host() -> str:
    """The host of the socket that BentoML's supervisor gave this worker to serve HTTP on."""
    descriptor = _options().get("fd")
    if descriptor is None:
        return "127.0.0.1"
    with socket.socket(fileno=os.dup(descriptor)) as http:
        return str(http.getsockname()[0])


def _check_guards() -> None:
    """Ends the supervisor, with the reason, if what is to guard the server is of no use."""
    try:
        Tls.from_options(_options())
        if keys := api_keys.file_named(os.environ):
            api_keys.read(keys)
        log_settings.read(os.environ)
        tracing.sampling(os.environ)
    except ConfigurationError as error:
        print(f"this bundle is not served: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


class FrontedService(bentoml.Service):  # type: ignore[misc]  # bentoml is not typed
    """A BentoML service with our HTTP front door ahead of BentoML's application."""

    def to_asgi(self, is_main: bool = True) -> Application:
        """BentoML's application for its own pages. Ours is put where uvicorn, which BentoML configures next, takes its protocol from."""
        from uvicorn.protocols.http import auto

        from bentos.bentoml_pages import BentomlPages
        from bentos.http_app import HttpApp
        from bentos.http_protocol import protocol_for

        # uvicorn prepares each line, whether or not it is written
        logging.getLogger("uvicorn.access").propagate = False
        app = HttpApp(core())
        auto.AutoHTTPProtocol = protocol_for(app)
        return BentomlPages(super().to_asgi(is_main), app.headers)


@bentoml.service(
    name="predictor",
    service_class=FrontedService,
    workers=1,
    traffic={"timeout": _BENTOML_TIMEOUT_S},
    logging={"access": {"enabled": False}},
    tracing={"sample_rate": 0.0},
    metrics={"enabled": True},
)
class Predictor:
    """Predictions over HTTP and gRPC; both front ends start and stop with BentoML's worker."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Runs in the supervisor before there is a worker: one that cannot load its bundle would be started again for ever."""
        check_bundle()
        _check_guards()
        loaded = subprocess.run([sys.executable, "-m", "bentos", str(BUNDLE)], cwd=BUNDLE / "src", check=False)
        if loaded.returncode < 0:
            ended_by = signal.Signals(-loaded.returncode).name
            raise SystemExit(f"this bundle cannot be served: loading it was ended by {ended_by}")
        if loaded.returncode:
            raise SystemExit(loaded.returncode)

    def __init__(self) -> None:
        self._core = core()
        self._grpc: Any = None

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        from bentos.grpc_server import GrpcServer

        tls = Tls.from_options(_options())
        self._grpc = GrpcServer(self._core, *grpc_address(), tls.grpc_credentials() if tls else None)
        await self._grpc.start()
        self._core.begin(os.environ)
        # What lives by now lives on: the collector need not look at it again with every request.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        self._core.ready = False
        if self._grpc is not None:
            await self._grpc.stop()
        self._core.end()

    async def __is_ready__(self) -> bool:
        return self._core.ready

    async def __metrics__(self, content: str) -> str:
        return content + self._core.metrics.text()
