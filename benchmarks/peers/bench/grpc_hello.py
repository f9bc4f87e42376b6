"""The limit for any `grpc.aio` server: take the message unparsed, answer a constant.

python -m benchmarks.peers.bench.grpc_hello PORT      (in the environment `bench`)
"""

from __future__ import annotations

import asyncio
import signal
import sys

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is not typed
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(_hello) if details.method == METHOD else None


async def _hello(_message: bytes, _context: grpc.aio.ServicerContext) -> bytes:
    return b"\x0a\x05hello"


async def main(port: int) -> None:
    """Serve on a port until the process ends."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handler(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(1)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
