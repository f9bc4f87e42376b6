"""The options of programs that ask a server over both protocols: the server, the seed, the process to measure."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import interpreter
from harness.bundles import Bundle
from harness.servers import Server


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a program such as `drills.hostile.fuzz`; its help is the first line of `description`."""
    made = argparse.ArgumentParser(prog=f"python -m {program}", description=(description or "").partition("\n")[0])
    made.add_argument("bundle", type=Path)
    made.add_argument("--http", required=True, metavar="HOST:PORT")
    made.add_argument("--grpc", required=True, metavar="HOST:PORT")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--pid", type=int, help="of the server, whose memory is measured")
    return made


def command(program: str, bundle: Bundle, server: Server, seed: int) -> list[str]:
    """Return the command of a program that asks this server."""
    addresses = ["--http", f"127.0.0.1:{server.port}", "--grpc", f"127.0.0.1:{server.grpc_port}"]
    asked = [str(bundle.path), *addresses, "--pid", str(server.pid), "--seed", str(seed)]
    return [str(interpreter("client")), "-m", program, *asked]
