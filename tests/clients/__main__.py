"""`python -m tests.clients BUNDLE`: serve a bundle, run every client that is there, and write docs/reference/clients-tried.md."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tests.bentos.running import start_server
from tests.clients.loads import LOADS, Load, answered
from tests.clients.outcome import Server, outcome_of, version_in
from tests.clients.registry import CLIENTS, Client, MissingError
from tests.clients.requests import Requests, write_requests
from tests.clients.table import Row, read_rows, write_rows

Asked = TypeVar("Asked", Client, Load)


def main(bundle: Path, directory: Path) -> None:
    copied = Path(shutil.copytree(bundle, directory / "bundle"))
    running = start_server(copied, directory)
    try:
        server, requests = Server(running.http, running.grpc), write_requests(copied, directory / "requests")
        clients = [_row(client, lambda made: _cells(made, server, requests)) for client in CLIENTS]
        loads = [_row(load, lambda made: answered(made, server, requests, directory)) for load in LOADS]
    finally:
        running.stop()
    write_rows(clients, loads)


def _cells(client: Client, server: Server, requests: Requests) -> Row:
    with tempfile.TemporaryDirectory() as directory:
        return [*astuple(outcome_of(client, server, requests, Path(directory)))]


def _row(asked: Asked, ask: Callable[[Asked], Row]) -> Row:
    """What it gets today, or got the last time that it was there."""
    try:
        cells = ask(asked)
    except MissingError as missing:
        print(f"{asked.name}: {missing}", file=sys.stderr)
        return read_rows().get(asked.name, [asked.name, "", "", asked.protocol, f"not run: {missing}"])
    return [asked.name, version_in(asked.version), f"{datetime.now(UTC):%Y-%m-%d}", asked.protocol, *cells]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]), Path(temporary))
