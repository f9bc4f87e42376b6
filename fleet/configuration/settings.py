"""The settings of this machine, read from the environment once, at the edge."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from contract import api_keys, cors
from contract.bundle import trusted_keys
from contract.environment.places import require_fit_for_state, require_supported
from contract.errors import ConfigurationError
from contract.prediction_log import settings as log_settings
from contract.store.store import Store

PROJECT = Path(__file__).resolve().parents[2]
_MOST_WEIGHT = 10_000  # as of systemd's CPUWeight
OTEL_PATHS = ("_CERTIFICATE", "_CLIENT_KEY")  # ends of variables of OpenTelemetry's exporters that name files


@dataclass(frozen=True)
class Settings:
    """A fleet's directories, ports and limits.

    Attributes:
        store: the bundle store, a directory or a URL; `BULKHEAD_STORE`, default `store`.
        verify_keys: returns the public keys, PEM, one of which must have signed every bundle: those of `BULKHEAD_VERIFY_KEY`, else those
            that `publish` wrote to `keys` below `BULKHEAD_VAR`. They are read at each verification.
        root: the fleet's own state, absolute; `fleet` below `BULKHEAD_VAR`, default `var`.
        file: the file of the wanted fleet, if it is not `fleet.yaml` in `root`; `BULKHEAD_FLEET_FILE`.
        host: the IPv4 address of this machine on which Envoy answers; `BULKHEAD_HOST`, default 127.0.0.1.
        http_port, grpc_port: where Envoy answers there; `BULKHEAD_HTTP_PORT`, `BULKHEAD_GRPC_PORT`.
        replica_port: the first of the replicas' ports for metrics and the other pages around the predictions, one each;
            `BULKHEAD_REPLICA_PORT`.
        admin_port: the same, without a route from Envoy to those pages; `BULKHEAD_ADMIN_PORT`. 0: there is a route.
        status_port: where the status page answers on 127.0.0.1; `BULKHEAD_STATUS_PORT`. 0: nowhere.
        passed_on: the variables of this environment that every replica gets, where they are set: `BULKHEAD_API_KEYS_FILE` and
            `BULKHEAD_PREDICTION_LOG`, as absolute paths, `BULKHEAD_PREDICTION_LOG_MB`, `BULKHEAD_CORS_ORIGINS`, and
            OpenTelemetry's `OTEL_…`.
        environment: the settings as given, for a later command.
        start_limit_s: the time limit of a new replica to become ready; `BULKHEAD_START_LIMIT_S`.
        replica_uid: the user that replicas run as where the fleet runs as root; `BULKHEAD_REPLICA_UID`.
        weight: share of the CPU beside other programs, which have 100; `BULKHEAD_FLEET_WEIGHT`. None: an equal share.
    """

    store: str
    verify_keys: Callable[[], Sequence[bytes]]
    root: Path
    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int = 8081
    replica_port: int = 8100
    admin_port: int = 0
    status_port: int = 8085
    start_limit_s: float = 60.0
    file: Path | None = None
    replica_uid: int = 60999  # outside the ranges of people and of systemd's services
    weight: int | None = None
    passed_on: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environment: Mapping[str, str], project: Path = PROJECT) -> Settings:
        """Read the settings; relative paths are relative to the project, not to the working directory.

        Raises:
            ConfigurationError: a port or a time is not one, two ports are the same, or a path has unsupported characters or is too long for
                a Unix socket.
        """
        store = environment.get("BULKHEAD_STORE") or "store"
        root = (project / (environment.get("BULKHEAD_VAR") or "var") / "fleet").resolve()
        require_supported(project)
        require_fit_for_state(root.parent)
        read = cls(
            store=store if "://" in store else str(project / store),
            verify_keys=partial(trusted_keys.read, environment, root.with_name("keys"), project),
            root=root,
            host=_host(environment),
            http_port=_port(environment, "BULKHEAD_HTTP_PORT", cls.http_port),
            grpc_port=_port(environment, "BULKHEAD_GRPC_PORT", cls.grpc_port),
            replica_port=_port(environment, "BULKHEAD_REPLICA_PORT", cls.replica_port),
            admin_port=_port(environment, "BULKHEAD_ADMIN_PORT", cls.admin_port),
            status_port=_port(environment, "BULKHEAD_STATUS_PORT", cls.status_port, least=0),
            start_limit_s=_seconds(environment, "BULKHEAD_START_LIMIT_S", cls.start_limit_s),
            file=project / environment["BULKHEAD_FLEET_FILE"] if environment.get("BULKHEAD_FLEET_FILE") else None,
            replica_uid=_uid(environment, "BULKHEAD_REPLICA_UID", cls.replica_uid),
            weight=_weight(environment, "BULKHEAD_FLEET_WEIGHT"),
            passed_on=_passed_on(environment, project),
            # The reconciler starts `fleet` commands of its own with these.
            environment={name: text for name, text in environment.items() if _is_ours(name)},
        )
        _refuse_one_port_twice(read)
        return read

    @property
    def state(self) -> Path:
        """The file of what runs."""
        return self.root / "state.json"

    @property
    def declaration(self) -> Path:
        """The file of the wanted fleet."""
        return self.file or self.root / "fleet.yaml"

    def open_store(self) -> Store:
        """Open the store, which caches a bucket's bundles in `bundles` below `BULKHEAD_VAR`, beside the fleet's own state."""
        return Store(self.store, trusted=self.verify_keys, cache=self.root.with_name("bundles"))


def _is_ours(name: str) -> bool:
    """Tell whether a variable is one of the fleet's; the signing key is not."""
    return name.startswith(("BULKHEAD_", "OTEL_")) and name != "BULKHEAD_SIGNING_KEY"


def _passed_on(environment: Mapping[str, str], project: Path) -> Mapping[str, str]:
    cors.read(environment)
    others = (log_settings.LIMIT_VARIABLE, cors.VARIABLE)
    found = {name: text for name, text in environment.items() if name in others or name.startswith("OTEL_")}
    # Absolute, since a replica runs in a directory of its own.
    paths = (api_keys.VARIABLE, log_settings.VARIABLE, *(name for name in found if name.endswith(OTEL_PATHS)))
    return found | {name: str(project / environment[name]) for name in paths if environment.get(name)}


def _host(environment: Mapping[str, str]) -> str:
    text = environment.get("BULKHEAD_HOST", Settings.host)
    try:
        return str(IPv4Address(text))
    except ValueError as error:
        raise ConfigurationError(f"BULKHEAD_HOST is {text!r}; it must be an IPv4 address of this machine") from error


def _port(environment: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    text = environment.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text) < 65536:
        raise ConfigurationError(f"{name} is {text!r}; it must be a port, {least} to 65535")
    return int(text)


def _refuse_one_port_twice(settings: Settings) -> None:
    names: dict[int, str] = {}
    for name, port in (
        ("BULKHEAD_HTTP_PORT", settings.http_port),
        ("BULKHEAD_GRPC_PORT", settings.grpc_port),
        ("BULKHEAD_STATUS_PORT", settings.status_port),
    ):
        if (other := names.setdefault(port, name)) != name:
            raise ConfigurationError(f"{other} and {name} are both {port}; give each a port of its own")


def _uid(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise ConfigurationError(
            f"{name} is {text!r}; it must be the number of a user that owns nothing, and not root's, 0"
        )
    return int(text)


def _weight(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "none")
    if text == "none":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WEIGHT:
        raise ConfigurationError(f"{name} is {text!r}; allowed are none and whole numbers from 1 to {_MOST_WEIGHT}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, str(default))
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text) or not float(text):
        raise ConfigurationError(f"{name} is {text!r}; it must be a number of seconds above 0, such as {default:g}")
    return float(text)
