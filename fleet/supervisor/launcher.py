"""The command that starts a replica's server: all that can be known before each start, so that `launch` has nothing left to find out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.bundle import manifest
from contract.environment.sandbox import SCRATCH
from fleet.isolation import sandbox as isolation
from fleet.isolation import seccomp
from fleet.isolation.sandbox import NONE, Sandbox
from fleet.supervisor.launch import FILTER

_LAUNCH = "from fleet.supervisor.launch import main; main()"


def command(
    bundle: Path,
    digest: str,
    sandbox: Sandbox,
    addresses: Mapping[str, str],
    serve: Sequence[str],
    environment: Mapping[str, str],
    *,
    python: str,
) -> list[str]:
    """Return the command that runs a bundle's server, in its sandbox.

    Args:
        digest: of the bundle; one that has become another is not started.
        addresses: by the server's option that gets the socket.
        serve: the interpreter of the server's environment, `-m` or `-c`, and its arguments.
        environment: the server's settings.
        python: the fleet's own interpreter.
    """
    given = {
        "bundle": str(bundle),
        "digest": digest,
        "tree": manifest.fingerprint(bundle, digest),
        "memory_mb": str(sandbox.memory_mb),
    }
    words = list(serve)
    if sandbox.kind != NONE:
        given["keep"] = ",".join(isolation.kept(environment))
        given["filter"] = seccomp.program(network=isolation.has_network(environment)).hex()
        given["scratch"] = SCRATCH
        words = isolation.surrounded(sandbox, bundle, serve, environment, FILTER)
    named = [f"{name}={text}" for name, text in {**given, **addresses}.items()]
    # Without `site` (-S), since the launcher needs no installed package, without the current directory, the replica's (-P), and without
    # what `-m` imports.
    return [python, "-S", "-P", "-c", _LAUNCH, *named, "--", *words]
