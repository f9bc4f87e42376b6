"""Become a replica's server: `python -m fleet.supervisor.launch BUNDLE DIGEST SANDBOX OPTION=ADDRESS … -- COMMAND …`.

The server gets its sockets as `OPTION N`, and starts only if the bundle is still the one that was deployed. Every start of a replica
passes here, supervisord's restarts too. The signature was verified when the bundle was copied; hashing every byte again takes 20 ms.

An address is a path, for a Unix socket, or `host:port`. A path is bound but not listened at: until the server listens, a connection is
refused at once, and Envoy asks another replica. A port is listened at, since binding alone does not keep others from taking it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from contract.bundle import manifest
from contract.errors import EXIT_DATA, EXIT_RETRY, BundleError
from contract.files import write_atomically
from fleet.isolation.sandbox import Sandbox, enter

REFUSAL = "refused.txt"  # in a replica's directory: the reason why its bundle was not started
_PAUSE_S = 1.0


def main(bundle: Path, digest: str, sandbox: Sandbox, arguments: list[str]) -> None:
    """Become the command in its sandbox; exit where the bundle is refused or a port is taken."""
    _require_intact(bundle, digest)
    end = arguments.index("--")
    given = [option for address in arguments[:end] for option in _taken(*address.split("=", 1))]
    # In this process, so that supervisord's signals reach the server.
    enter(sandbox, bundle, [*arguments[end + 1 :], *given], os.environ)


def _require_intact(bundle: Path, digest: str) -> None:
    refusal = Path(REFUSAL)
    _pause_after(refusal)
    try:
        manifest.verify(bundle, digest)
    except (BundleError, OSError) as error:
        print(f"not started: {error}", file=sys.stderr)
        write_atomically(refusal, str(error).encode())
        sys.exit(EXIT_DATA)
    refusal.unlink(missing_ok=True)


def _taken(option: str, address: str) -> tuple[str, str]:
    """Return the option with the number of the socket at that address."""
    try:
        taken = _path(address) if address.startswith("/") else _port(address)
    except OSError as error:
        print(f"cannot listen on {address} ({error.strerror})", file=sys.stderr)
        sys.exit(EXIT_RETRY)
    taken.set_inheritable(True)
    return option, str(taken.detach())


def _pause_after(path: Path) -> None:
    """Wait until a second after the last refusal: supervisord restarts an ended program at once, at each call that it gets."""
    with suppress(FileNotFoundError):
        time.sleep(min(max(0.0, path.stat().st_mtime + _PAUSE_S - time.time()), _PAUSE_S))


def _path(path: str) -> socket.socket:
    _pause_after(Path(path))
    Path(path).unlink(missing_ok=True)  # left by a server that was killed; bind() would fail
    taken = socket.socket(socket.AF_UNIX)
    taken.bind(path)
    return taken


def _port(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Sandbox.parse(sys.argv[3]), sys.argv[4:])
