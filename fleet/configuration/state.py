"""A fleet's state: the bundles it serves and its replicas, saved in `state.json`, from which everything else is derived."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically

TARGETS_FILE_NAME = "prometheus.json"
IN_FLIGHT = 2.5  # requests that the autoscaler wants in flight at each replica; docs/explanation/scaling.md says what that means


@dataclass(frozen=True, slots=True)
class Replica:
    """One server of a bundle, on Unix sockets that no other process can take; its metrics and pages are at a port of 127.0.0.1.

    Attributes:
        sandbox: what surrounds it, as a text of `fleet.isolation.sandbox.Sandbox`; "": it is of an earlier version, without one.
        background: it runs with the least priority, since no caller waits for it.
    """

    name: str
    digest: str
    admin_port: int
    sandbox: str = ""
    background: bool = False


@dataclass(frozen=True, slots=True)
class Canary:
    """A bundle on trial, which gets `percent` of the requests, 1 to 99; `judge`: who ends the trial, `manual` or `auto`."""

    digest: str
    percent: int
    judge: str = "manual"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds between which the autoscaler chooses the number of replicas, and the requests in flight that each is to have."""

    min: int
    max: int
    in_flight: float = IN_FLIGHT


@dataclass(frozen=True, slots=True)
class State:
    """A fleet's bundles and replicas, wanted and running.

    Attributes:
        size: wanted number of replicas of the live bundle.
        bounds: the bounds of `size`; None: it is fixed.
        live: its digest; None: nothing was ever deployed.
        canary: the bundle on trial beside it.
        shadow: digest of the bundle that gets copies of live requests.
        mirror_percent: share of the requests of which it gets copies, 1 to 100.
        isolation: `auto`, `required` or `none`, as `fleet.yaml` has it.
        memory_mb: limit of each replica's memory, in MiB.
        sticky: `header` if requests with a caller's API key stay on one side of a canary, else `none`.
        replicas: the running ones; during a change, more than are wanted.
        draining: names of replicas that get no new requests; not saved, since the command after an interrupted one drains anew.
        unfit: names of replicas to replace: they do not answer, or nothing would restart them; not saved.
    """

    size: int = 2
    live: str | None = None
    canary: Canary | None = None
    bounds: Bounds | None = None
    shadow: str | None = None
    mirror_percent: int = 100
    isolation: str = "auto"
    memory_mb: int = 1024
    sticky: str = "none"
    replicas: tuple[Replica, ...] = ()
    draining: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()

    @property
    def weights(self) -> dict[str, int]:
        """Digest -> percent of the requests; empty while nothing is live."""
        if self.live is None:
            return {}
        if self.canary is None:
            return {self.live: 100}
        return {self.live: 100 - self.canary.percent, self.canary.digest: self.canary.percent}

    @property
    def counts(self) -> dict[str, int]:
        """Digest -> wanted number of replicas: `size` for the live one; the canary's and the shadow's share of that, at least one.

        A canary that is judged automatically has as many replicas of the live bundle beside it, its control.
        """
        if self.live is None:
            return {}
        counts = {self.live: self.size}
        if self.canary is not None:
            trial = self._share(self.canary.percent)
            counts = {self.live: self.size + trial * (self.canary.judge == "auto"), self.canary.digest: trial}
        if self.shadow is not None:
            counts.setdefault(self.shadow, self._share(self.mirror_percent))
        return counts

    def _share(self, percent: int) -> int:
        """Return the number of replicas for a share of the requests."""
        return max(1, math.ceil(self.size * percent / 100))

    def is_in_background(self, digest: str) -> bool:
        """Tell whether no caller waits for a bundle's replicas: it is a shadow, and nothing else."""
        return digest == self.shadow and digest not in self.weights

    @property
    def control(self) -> tuple[Replica, ...]:
        """The replicas of the live bundle with the canary's number and share of the requests, with which its latency is compared."""
        if self.live is None or self.canary is None or self.canary.judge != "auto":
            return ()
        return self.fit(self.live)[self.size : self.counts[self.live]]

    @property
    def missing(self) -> dict[str, int]:
        """Digest -> number of replicas to start."""
        lacking = {digest: count - len(self.fit(digest)) for digest, count in self.counts.items()}
        return {digest: count for digest, count in lacking.items() if count > 0}

    @property
    def surplus(self) -> tuple[Replica, ...]:
        """The replicas to remove: those of other bundles, the unfit, and the newest beyond the wanted number."""
        kept = {entry.name for digest, count in self.counts.items() for entry in self.fit(digest)[:count]}
        return tuple(entry for entry in self.replicas if entry.name not in kept)

    def of(self, digest: str) -> tuple[Replica, ...]:
        """Return the replicas of a bundle."""
        return tuple(entry for entry in self.replicas if entry.digest == digest)

    def fit(self, digest: str) -> tuple[Replica, ...]:
        """Return the replicas of a bundle that are not unfit."""
        return tuple(entry for entry in self.of(digest) if entry.name not in self.unfit)

    def without(self, gone: tuple[Replica, ...]) -> State:
        """Return the state without some replicas."""
        names = {entry.name for entry in gone}
        kept = tuple(entry for entry in self.replicas if entry.name not in names)
        return replace(self, replicas=kept, draining=self.draining - names, unfit=self.unfit - names)


def socket_of(protocol: str, name: str, root: Path) -> str:
    """Return the path of the Unix socket on which a replica speaks `http` or `grpc`."""
    return str(root / "run" / f"{name}.{protocol}")


def load(path: Path) -> State:
    """Return the saved state; the default one if none was saved.

    Raises:
        ConfigurationError: the file is not a state.
    """
    try:
        saved = json.loads(path.read_bytes())
        return State(
            size=saved["size"],
            live=saved["live"],
            canary=Canary(**saved["canary"]) if saved["canary"] else None,
            bounds=Bounds(**saved["bounds"]) if saved.get("bounds") else None,
            replicas=tuple(Replica(**entry) for entry in saved["replicas"]),
            # A state of an earlier version lacks some of these.
            **{
                name: saved[name]
                for name in ("shadow", "mirror_percent", "isolation", "memory_mb", "sticky")
                if name in saved
            },
        )
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not a fleet's state ({error!r}): run `fleet down`, delete it, and run `fleet up`"
        ) from error


def save(path: Path, state: State) -> None:
    """Save the state, and beside it the replicas as Prometheus discovers them."""
    plain = asdict(state)
    # What one command was doing with them; the next one looks for itself.
    del plain["draining"], plain["unfit"]
    write_atomically(path, canonical_json(plain))
    write_atomically(path.with_name(TARGETS_FILE_NAME), canonical_json(scrape_targets(state)))


def scrape_targets(state: State) -> list[dict[str, Any]]:
    """Return each replica's metrics endpoint, labelled with its bundle's role: `live`, `canary`, `shadow`, or `none`.

    Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
    """
    roles = (
        ({state.shadow: "shadow"} if state.shadow else {})
        | {state.live: "live"}
        | ({state.canary.digest: "canary"} if state.canary else {})
    )
    return [
        {
            "targets": [f"127.0.0.1:{entry.admin_port}"],
            "labels": {"replica": entry.name, "channel": roles.get(entry.digest, "none")},
        }
        for entry in state.replicas
    ]
