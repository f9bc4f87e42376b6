"""The running Envoys: written a state's configuration, and waited for until they act on it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contract.bundle.limits import Limits
from contract.errors import UnavailableError
from contract.files import canonical_json, write_atomically
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State, socket_of
from fleet.envoy import clusters, config, limits, routes
from fleet.envoy.clusters import PROTOCOLS, cluster_name
from fleet.supervisor import unix_http

_APPLY_LIMIT_S = 20.0
_ANSWER_LIMIT_S = 2.0
_POLL_S = 0.05
_COUNTED = "^(http[.](http|grpc)[.]downstream_rq_(total|completed|5xx)|server[.]hot_restart_epoch)$"


@dataclass(frozen=True, slots=True)
class Host:
    """An endpoint as Envoy sees it. `errors` counts its failed requests, including those that another endpoint then answered."""

    healthy: bool
    draining: bool
    active_requests: int
    requests: int
    errors: int

    @property
    def gets_requests(self) -> bool:
        """True if Envoy sends it requests."""
        return self.healthy and not self.draining


Hosts = Mapping[tuple[str, str], Host]
NUMBERS = (0, 1)  # of a fleet's Envoys, which do the same


class Proxy:
    """The Envoys of one fleet. What is asked of them fails where one does not answer: its share of the requests is not known."""

    def __init__(self, settings: Settings, numbers: Sequence[int] = NUMBERS) -> None:
        self._settings, self._numbers = settings, numbers
        self._directory = settings.root / "envoy"

    def bootstrap_path(self, number: int) -> Path:
        """Return the path of an Envoy's bootstrap, named by content: an Envoy with another bootstrap is another program."""
        return self._directory / f"bootstrap-{hashlib.sha256(self._bootstrap(number)).hexdigest()[:8]}.json"

    def _bootstrap(self, number: int) -> bytes:
        return canonical_json(config.bootstrap(self._settings, admin_socket(self._settings.root, number)))

    def write(self, state: State) -> dict[str, str]:
        """Write the configuration of a state and return the routes' versions by protocol; unchanged files stay."""
        (self._directory / "eds").mkdir(parents=True, exist_ok=True)
        for number in self._numbers:
            _write_if_changed(self.bootstrap_path(number), self._bootstrap(number))
        files = self._resources(state)
        for name, content in files.items():
            _write_if_changed(self._directory / name, canonical_json(content))
        # After the routes are written, which no longer name the clusters of these files.
        for path in (self._directory / "eds").glob("*.json"):
            if f"eds/{path.name}" not in files:
                path.unlink()
        return _versions(files)

    def _resources(self, state: State) -> dict[str, dict[str, Any]]:
        return config.resources(self._settings, state, self._allowed(state.replicas))

    def _allowed(self, replicas: Iterable[Replica]) -> Limits:
        """Return what the bundles of these replicas allow, by the fleet's copies."""
        return limits.of_bundles(
            self._settings.root / "bundles" / digest for digest in {each.digest for each in replicas}
        )

    def end_s(self, replicas: Iterable[Replica]) -> float:
        """Return the seconds after which these replicas' requests have all ended: two more than Envoy gives any of them."""
        return routes.answer_limit_s(self._allowed(replicas)) + 2

    def route(self, state: State) -> None:
        """Make all Envoys route as the state says; return when they do.

        Raises:
            UnavailableError: it does not within 20 seconds.
        """
        wanted = self.write(state)
        _wait(
            lambda: all(each == wanted for each in self._route_versions()),
            "Envoy has not applied its new routes",
            _APPLY_LIMIT_S,
        )

    def routes(self, state: State) -> bool:
        """Tell whether all Envoys route by the state; not so if a command was interrupted after it saved the state, or could not write."""
        wanted = _versions(self._resources(state))
        return all(each == wanted for each in self._route_versions())

    def wait_until_healthy(self, replicas: Sequence[Replica]) -> None:
        """Wait until Envoy's own health checks have passed for all these replicas, over both protocols.

        Raises:
            UnavailableError: they have not within 20 seconds.
        """
        names = ", ".join(replica.name for replica in replicas)
        _wait(
            lambda: all(host is not None and host.healthy for host in self._hosts_of(replicas)),
            f"Envoy's health checks of {names} fail",
            _APPLY_LIMIT_S,
        )

    def unhealthy(self, replicas: Sequence[Replica], limit_s: float) -> list[Replica]:
        """Return the replicas that still get no requests from Envoy after `limit_s` seconds."""
        sick = list(replicas)

        def are_well() -> bool:
            """Tell whether Envoy sends every replica requests."""
            hosts = self.hosts()
            sick[:] = [
                each for each in replicas if not all(host and host.gets_requests for host in self.of(each, hosts))
            ]
            return not sick

        with suppress(UnavailableError):
            _wait(are_well, "", limit_s)
        return sick

    def wait_until_idle(self, replicas: Sequence[Replica]) -> bool:
        """Wait until the draining replicas have answered all that they were given; return False if they have not in time (`end_s`)."""
        try:
            _wait(
                lambda: all(
                    host is None or (host.draining and not host.active_requests) for host in self._hosts_of(replicas)
                ),
                "",
                self.end_s(replicas),
            )
        except UnavailableError:
            return False
        return True

    def wait_until_ready(self, number: int, epoch: int, limit_s: float = _APPLY_LIMIT_S) -> None:
        """Wait until the Envoy of that number and epoch answers and serves.

        Raises:
            UnavailableError: it does not in time.
        """
        _wait(lambda: self._serves(number, epoch), f"envoy-{number}-{epoch} does not answer", limit_s)

    def _serves(self, number: int, epoch: int) -> bool:
        info = json.loads(self._get(number, "/server_info"))
        # In a hot restart the old Envoy answers at this socket until the new one takes it.
        return bool(info["state"] == "LIVE" and info["command_line_options"].get("restart_epoch", 0) == epoch)

    def _hosts_of(self, replicas: Sequence[Replica]) -> list[Host | None]:
        hosts = self.hosts()
        return [host for replica in replicas for host in self.of(replica, hosts)]

    def of(self, replica: Replica, hosts: Hosts) -> list[Host | None]:
        """Return a replica's endpoints, one for each protocol."""
        return [
            hosts.get((cluster_name(protocol, replica.digest), socket_of(protocol, replica.name, self._settings.root)))
            for protocol in PROTOCOLS
        ]

    def hosts(self) -> dict[tuple[str, str], Host]:
        """Return every endpoint, by cluster and path, with the requests of all Envoys."""
        found = [self._endpoints(number) for number in self._numbers]
        return {key: _together([each.get(key) for each in found]) for each in found for key in each}

    def _endpoints(self, number: int) -> dict[tuple[str, str], Host]:
        hosts = {}
        for cluster in json.loads(self._get(number, "/clusters?format=json")).get("cluster_statuses", []):
            # An aggregate of two other clusters, whose endpoints are listed there.
            if cluster["name"].endswith(clusters.OR_LIVE):
                continue
            for status in cluster.get("host_statuses", []):
                hosts[cluster["name"], status["address"]["pipe"]["path"]] = _host(status)
        return hosts

    def counters(self) -> str:
        """Return the counters of callers' requests and the epochs of all Envoys, a line each, as `http.http.downstream_rq_total: 12`."""
        return "".join(self._get(number, f"/stats?filter={quote(_COUNTED)}").decode() for number in self._numbers)

    def _route_versions(self) -> Iterator[dict[str, str]]:
        for number in self._numbers:
            dump = json.loads(self._get(number, "/config_dump?resource=dynamic_route_configs"))
            yield {entry["route_config"]["name"]: entry.get("version_info", "") for entry in dump.get("configs", [])}

    def _get(self, number: int, path: str) -> bytes:
        return unix_http.ask(admin_socket(self._settings.root, number), "GET", path, limit_s=_ANSWER_LIMIT_S)[1]


def admin_socket(root: Path, number: int) -> Path:
    """Return the socket of an Envoy's admin interface."""
    return root / f"envoy-{number}.sock"


def _versions(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {protocol: files[f"rds-{protocol}.json"]["version_info"] for protocol in PROTOCOLS}


def _together(hosts: Sequence[Host | None]) -> Host:
    """Return an endpoint as all Envoys see it: it gets requests where each sends it some."""
    known = [host for host in hosts if host]
    return Host(
        healthy=len(known) == len(hosts) and all(host.healthy for host in known),
        draining=all(host.draining for host in known),
        active_requests=sum(host.active_requests for host in known),
        requests=sum(host.requests for host in known),
        errors=sum(host.errors for host in known),
    )


def _host(status: dict[str, Any]) -> Host:
    health = dict(status["health_status"])
    # The only entry that is present in health: all others are flags that are true when something is wrong.
    from_eds = health.pop("eds_health_status", "HEALTHY")
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in status["stats"]}
    return Host(
        healthy=not any(health.values()),  # the remaining entries are reasons not to send requests
        draining=from_eds == "DRAINING",
        active_requests=stats.get("rq_active", 0),
        requests=stats.get("rq_total", 0),
        errors=stats.get("rq_error", 0),
    )


def _wait(condition: Callable[[], bool], failure: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if condition():
                return
        except (*unix_http.FAILURES, ValueError):
            pass  # Envoy is starting
        if time.monotonic() > deadline:
            raise UnavailableError(f"{failure} (waited {limit_s:g} s; see logs/envoy-….log in the fleet's directory)")
        time.sleep(_POLL_S)


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)
