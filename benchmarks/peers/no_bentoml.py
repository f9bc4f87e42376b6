"""The limit for our replica: both front ends over its core, under plain uvicorn, without BentoML around them.

python -m benchmarks.peers.no_bentoml BUNDLE HTTP_PORT GRPC_PORT      (in the serving environment)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from bentos.core import Core
from bentos.grpc_server import GrpcServer
from bentos.http_app import HttpApp
from bentos.http_protocol import protocol_for


async def _probes(_scope: Any, _receive: Any, send: Any) -> None:
    """What BentoML would answer: here, that the server is ready."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def main(bundle: Path, http_port: int, grpc_port: int) -> None:
    core = Core.load(bundle)
    grpc = GrpcServer(core, "127.0.0.1", grpc_port)
    await grpc.start()
    core.ready = True
    front = protocol_for(HttpApp(core))
    config = uvicorn.Config(_probes, http=front, port=http_port, log_config=None, access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()
    await grpc.stop()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
