"""Become a replica's server: `main` with the words NAME=VALUE … OPTION=ADDRESS … -- COMMAND ….

`fleet.supervisor.launcher` makes the command that calls it. The server gets its sockets as `OPTION N`, and starts only if the bundle is
still the one that was deployed. The signature was verified when the bundle was copied; hashing every byte again takes some milliseconds.

Every start of a replica passes here, supervisord's restarts too, and waits for all that is imported: next to nothing, not even `socket`
and `signal` around their modules in C, which take 5 ms.

An address is a path, for a Unix socket, or `host:port`. A path is bound but not listened at: until the server listens, a connection is
refused at once, and Envoy asks another replica. A port is listened at, since binding alone does not keep others from taking it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys
import time

from contract.bundle import tree
from contract.environment.limits import limit

REFUSAL = "refused.txt"  # in a replica's directory: the reason why its bundle was not started
FILTER = 100  # the descriptor on which a sandbox finds its filter of system calls
_PAUSE_S = 1.0


def main() -> None:
    """Become the command; exit where the bundle is refused or a port is taken."""
    words = sys.argv[1:]
    end = words.index("--")
    given = dict(word.split("=", 1) for word in words[:end])
    bundle = given["bundle"]
    _require_intact(bundle, given["digest"], given["tree"])
    command = words[end + 1 :]
    for option, address in given.items():
        if option.startswith("--"):
            command += _taken(option, address)
    limit(int(given["memory_mb"]))
    environment = dict(os.environ)
    if "keep" in given:  # in a sandbox
        kept = given["keep"].split(",")
        environment = {name: text for name, text in environment.items() if name in kept}
        environment |= {"HOME": given["scratch"], "TMPDIR": given["scratch"]}
        _open(bytes.fromhex(given["filter"]) if "filter" in given else _filter(given))
        # supervisord stops the whole process group: the signal stays pending for all but the server, whose end ends the others.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTERM])
    # This process, so that supervisord's signals reach the server.
    os.execve(command[0], command, environment | {"PYTHONPATH": f"{bundle}/src"})  # noqa: S606


def _require_intact(bundle: str, digest: str, wanted: str) -> None:
    _pause_after(REFUSAL)
    try:
        is_intact = tree.fingerprint(tree.digests(bundle)) == wanted
    except Exception:  # noqa: BLE001  # whatever it is, the bundle is looked at again below
        is_intact = False
    if not is_intact:
        _refuse(bundle, digest)
    if os.path.exists(REFUSAL):  # noqa: PTH110  # without pathlib
        os.unlink(REFUSAL)  # noqa: PTH108


def _refuse(bundle: str, digest: str) -> None:
    """Exit with what differs; return if nothing does, any more."""
    from pathlib import Path

    from contract import command_line
    from contract.bundle import manifest
    from contract.errors import BundleError
    from contract.files import write_atomically

    try:
        manifest.verify(Path(bundle), digest)
    except (BundleError, OSError) as error:
        command_line.tell(f"not started: {error}")
        write_atomically(Path(REFUSAL), str(error).encode())
        sys.exit(os.EX_DATAERR)


def _taken(option: str, address: str) -> tuple[str, str]:
    """Return the option with the number of the socket at that address."""
    try:
        taken = _path(address) if address.startswith("/") else _port(address)
    except OSError as error:
        from contract import command_line

        command_line.tell(f"cannot listen on {address} ({error.strerror})")
        sys.exit(os.EX_TEMPFAIL)
    os.set_inheritable(taken.fileno(), True)
    return option, str(taken.detach())


def _pause_after(path: str) -> None:
    """Wait until a second after the last refusal: supervisord restarts an ended program at once, at each call that it gets."""
    try:
        left_s = os.stat(path).st_mtime + _PAUSE_S - time.time()  # noqa: PTH116
    except FileNotFoundError:
        return
    time.sleep(min(max(0.0, left_s), _PAUSE_S))


def _path(path: str) -> _socket.socket:
    _pause_after(path)
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108  # left by a server that was killed; bind() would fail
    taken = _socket.socket(_socket.AF_UNIX)
    taken.bind(path)
    return taken


def _port(address: str) -> _socket.socket:
    host, _, port = address.rpartition(":")
    taken = _socket.socket(_socket.AF_INET)
    taken.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    taken.bind((host, int(port)))
    taken.listen()
    return taken


def _filter(given: dict[str, str]) -> bytes:
    """Return the filter of a replica whose command an earlier version wrote, which is started again by this one."""
    from fleet.isolation import seccomp

    return seccomp.program(network=given["network"] == "open")


def _open(program: bytes) -> None:
    """Give the filter of system calls to the sandbox, as an open file."""
    descriptor = os.memfd_create("seccomp", 0)
    os.write(descriptor, program)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, FILTER)
    os.close(descriptor)


def _of_earlier_version(bundle: str, digest: str, sandbox: str, *words: str) -> None:
    """Become today's launcher: for a replica that an earlier version started, supervisord still calls this module by `-m`."""
    from pathlib import Path

    from fleet.isolation.sandbox import Sandbox
    from fleet.supervisor import launcher

    _pause_after(REFUSAL)
    _refuse(bundle, digest)  # no command can be made for a bundle that has become another
    end = words.index("--")
    addresses = dict(word.split("=", 1) for word in words[:end])
    surroundings, serve = Sandbox.parse(sandbox), words[end + 1 :]
    command = launcher.command(Path(bundle), digest, surroundings, addresses, serve, os.environ, python=sys.executable)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _of_earlier_version(*sys.argv[1:])
