"""Stand-ins for replicas: they answer like one, or fail as they are told, on the sockets that a replica has."""

from __future__ import annotations

import socketserver
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import SHUT_RDWR
from threading import Event, Thread
from typing import Any

import grpc

from contract.prediction_log.settings import SHADOW_HEADER
from fleet.configuration.state import socket_of

INFER = "/inference.GRPCInferenceService/ModelInfer"
_SERVING = b"\x08\x01"  # a HealthCheckResponse
_CALLS = 64
# Without limits of its own: between gRPC's two limits of metadata a server refuses some of the calls, at random.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.absolute_max_metadata_size", 1 << 20),
)


class StandIn:
    """One stand-in: it answers with its name. `fails` makes it answer 500, or INTERNAL; `late`, INTERNAL after the initial metadata.

    Over HTTP it answers while `free` is set.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.fails = self.late = False
        self.free = Event()
        self.free.set()
        self.requests: Counter[str] = Counter()
        self.named: list[str] = []  # Envoy's names of mirrored requests

    def answer(self, name: str | None) -> tuple[int, bytes]:
        """Status and body of an answer over HTTP."""
        self.requests["http"] += 1
        self.free.wait()
        self.named += [name] if name else []
        return (500, b"broken") if self.fails else (200, self.name.encode())

    def infer(self, _: bytes, context: Any) -> bytes:
        """Answer a call."""
        self.requests["grpc"] += 1
        self.named += [value for key, value in context.invocation_metadata() if key == SHADOW_HEADER]
        if self.late:
            context.send_initial_metadata(())
        if self.fails or self.late:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return self.name.encode()


class _Server(socketserver.ThreadingUnixStreamServer):
    """A server whose connections end with it, as a replica's do."""

    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        taken = super().get_request()
        self.__dict__.setdefault("taken", []).append(taken[0])
        return taken

    def server_close(self) -> None:
        super().server_close()
        for each in self.__dict__.get("taken", ()):
            with suppress(OSError):  # it has ended
                each.shutdown(SHUT_RDWR)


@contextmanager
def serving(name: str, root: Path) -> Iterator[StandIn]:
    """Run a stand-in for the replica of that name."""
    (root / "run").mkdir(exist_ok=True)
    stand_in = StandIn(name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(200, b"ready")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self._reply(*stand_in.answer(self.headers.get(SHADOW_HEADER)))

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    over_grpc = grpc.server(ThreadPoolExecutor(_CALLS), options=_OPTIONS)
    over_grpc.add_generic_rpc_handlers((_Methods(stand_in),))
    over_grpc.add_insecure_port(f"unix:{socket_of('grpc', name, root)}")
    over_grpc.start()
    Path(socket_of("http", name, root)).unlink(missing_ok=True)  # of an earlier one
    with _Server(socket_of("http", name, root), Handler) as over_http:
        Thread(target=over_http.serve_forever, daemon=True).start()
        try:
            yield stand_in
        finally:
            over_http.shutdown()
            over_grpc.stop(None).wait()


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def service(self, call: Any) -> Any:
        if call.method.startswith("/grpc.health"):
            return grpc.unary_unary_rpc_method_handler(lambda *_: _SERVING)
        return grpc.unary_unary_rpc_method_handler(self._stand_in.infer)
