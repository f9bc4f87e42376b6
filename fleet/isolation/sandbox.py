"""The sandbox of a replica, by bubblewrap: whether this machine can make one, and the command in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from contract import api_keys, cors
from contract.environment import sandbox as roots
from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from contract.prediction_log import settings as log_settings
from fleet.configuration.settings import Settings
from fleet.isolation import files, seccomp

_FILE_NAME = "isolation.json"
NONE = "none"
OTHER_USER = "user"  # a user of the machine that owns nothing
NAMESPACE = "namespace"  # the fleet's user, who is another one in a user namespace
_FOR_NETWORK = ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ssl/certs")
_LOGS = (log_settings.VARIABLE, log_settings.SHADOW_VARIABLE)
# The marks by which the fleet finds its processes, a server's settings, and those of its libraries.
_SETTINGS = {
    "BULKHEAD_FLEET", "BULKHEAD_PROGRAM",
    api_keys.VARIABLE, *_LOGS, log_settings.LIMIT_VARIABLE, cors.VARIABLE, "BULKHEAD_ADMIN_PORT",
    "OPENBLAS_NUM_THREADS", "GLIBC_TUNABLES", "PYTHONDONTWRITEBYTECODE", "LANG", "LC_ALL", "TZ",
}  # fmt: skip
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_ENTER = Path(__file__).with_name("enter.py")
_OPEN_NETWORK = "replicas share this machine's network, through which they send traces: unset OTEL_EXPORTER_OTLP_ENDPOINT to close it"
_CONSEQUENCE = "replicas run as this fleet's user and can read and change all that it can"


@dataclass(frozen=True, slots=True)
class Isolation:
    """How replicas are isolated: `NONE`, `OTHER_USER` or `NAMESPACE`; `problem` says in one line what is missing, and what that means."""

    kind: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The surroundings of one replica.

    Attributes:
        kind: `NONE`, `OTHER_USER` or `NAMESPACE`.
        uid: the replica's user.
        memory_mb: what it may allocate, without a sandbox too.
    """

    kind: str
    uid: int
    memory_mb: int

    @classmethod
    def parse(cls, text: str) -> Sandbox:
        """Return the sandbox that `str` made a text of."""
        kind, uid, memory_mb = text.split(":")
        return cls(kind, int(uid), int(memory_mb))

    def __str__(self) -> str:
        return f"{self.kind}:{self.uid}:{self.memory_mb}"


def find(wanted: str, settings: Settings) -> Isolation:
    """Return the isolation that this machine gives where `auto`, `required` or `none` is wanted.

    Raises:
        ConfigurationError: it is required, and the machine cannot.
    """
    if wanted == NONE:
        return Isolation(NONE, f"isolation is switched off: {_CONSEQUENCE}")
    sandbox = Sandbox(NAMESPACE if os.geteuid() else OTHER_USER, settings.replica_uid, memory_mb=0)
    lacking = missing(sandbox)
    if not lacking:
        return Isolation(sandbox.kind, _OPEN_NETWORK if has_network(settings.passed_on) else "")
    if wanted == "required":
        raise ConfigurationError(f"replicas cannot be isolated, which is required: {lacking}; nothing was changed")
    return Isolation(NONE, f"replicas are not isolated: {lacking}; {_CONSEQUENCE}")


def save(found: Isolation, root: Path) -> None:
    """Save what `find` returned in a fleet's root, for `fleet status`."""
    write_atomically(root / _FILE_NAME, canonical_json(asdict(found)))


def saved(root: Path) -> Isolation:
    """Return the isolation that was last found for the fleet in `root`; an empty one if none was."""
    try:
        return Isolation(**json.loads((root / _FILE_NAME).read_bytes()))
    except FileNotFoundError:
        return Isolation("")


def missing(sandbox: Sandbox) -> str:
    """Return what this machine lacks for such a sandbox, in one line; "" if nothing."""
    if not seccomp.program(network=False):
        return "there is no filter of system calls for this processor"
    if not shutil.which("unshare"):
        return "unshare, of util-linux, is not on the PATH"
    bubblewrap, lacking = roots.bubblewrap()
    if lacking:
        return lacking
    python = Path(sys.executable)
    return roots.problem_of([bubblewrap, *_options(sandbox, python, {}), *_entered(sandbox, python, ["-c", ""])])


def surrounded(
    sandbox: Sandbox, bundle: Path, command: Sequence[str], environment: Mapping[str, str], filtered_by: int
) -> list[str]:
    """Return the command that runs a command of Python in the sandbox; its sockets stay open.

    Args:
        command: the interpreter of an environment, `-m` or `-c`, and its arguments.
        environment: a server's settings.
        filtered_by: the descriptor of the filter of system calls.
    """
    python = Path(command[0])
    # bubblewrap ends with its parent, which must not be supervisord: replicas outlive one that is killed.
    words = [str(shutil.which("unshare")), "--fork", "--", roots.bubblewrap()[0]]
    words += _options(sandbox, python, environment, bundle)
    return [*words, "--seccomp", str(filtered_by), *_entered(sandbox, python, command[1:])]


def kept(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that reach a server in a sandbox."""
    # Not by `--setenv`: every user of the machine can read command lines.
    return sorted(_SETTINGS.union(name for name in environment if name.startswith("OTEL_")))


def has_network(environment: Mapping[str, str]) -> bool:
    """Tell whether replicas share the machine's network: traces are sent through it."""
    return any(map(environment.get, _ENDPOINTS))


def _options(sandbox: Sandbox, python: Path, environment: Mapping[str, str], *readable: Path) -> list[str]:
    network = has_network(environment)
    for_network = filter(Path.exists, map(Path, _FOR_NETWORK if network else ()))
    options = roots.options(
        python,
        (*readable, *files.handed_over(environment), *for_network),
        name="replica",
        network=network,
        writable=map(Path, filter(None, map(environment.get, _LOGS))),
    )
    # For `enter.py`, which drops them.
    kept = ["SETPCAP"] if sandbox.kind == NAMESPACE else ["SETPCAP", "SETUID", "SETGID"]
    options += [word for name in kept for word in ("--cap-add", f"CAP_{name}")]
    if sandbox.kind == NAMESPACE:
        options += ["--unshare-user", "--uid", str(sandbox.uid), "--gid", str(sandbox.uid)]
    return [*options, "--ro-bind", str(_ENTER), "/enter.py", *roots.SEALED]


def _entered(sandbox: Sandbox, python: Path, arguments: Sequence[str]) -> list[str]:
    uid = sandbox.uid if sandbox.kind == OTHER_USER else 0
    return [str(python), "-I", "-S", "/enter.py", str(uid), *arguments]
