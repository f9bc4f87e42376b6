"""The fleet of one machine: replicas under supervisord behind Envoy, brought to a wanted state and kept there.

Every verb changes the wanted state and then calls `_converge`, the only way from one state to another. Fallible steps come first: no
serving replica is touched before the new ones have given their golden answers and passed Envoy's health checks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from contract.errors import ConfigurationError, UnavailableError
from contract.files import private_directory
from fleet.configuration import state as fleet_state
from fleet.configuration.settings import Settings
from fleet.configuration.state import Canary, Replica, State
from fleet.control import watchdog
from fleet.envoy import balancer
from fleet.envoy.balancer import Balancer
from fleet.envoy.proxy import Proxy
from fleet.monitoring import status as fleet_status
from fleet.store import callers
from fleet.store.installed import Installed
from fleet.supervisor import heartbeat, replicas
from fleet.supervisor.lock import exclusive
from fleet.supervisor.supervision import Supervisor

# Nothing else of the caller's environment reaches supervisord, and so the replicas: it may hold credentials.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_MOST_REPLICAS = 64
_SETTLE_S = 5.0
# Shorter than a command's: `status` must also come back while supervisord hangs.
_STATUS_LIMIT_S = 2.0
_PORT_TRIES = 3


class Fleet:
    """The fleet whose files lie in `settings.root`; `tell` gets a line of progress at every step."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._store = settings.open_store()
        self._installed = Installed(settings.root, self._store)
        self._supervisor = Supervisor(settings.root)
        self._proxy = Proxy(settings)
        self._balancer = Balancer(settings, self._supervisor, self._proxy, tell)
        self._state_path = settings.root / "state.json"
        self._tell = tell

    def up(self, size: int | None = None) -> None:
        """Start what does not run, and serve the bundle of the channel `live`; do nothing where all that is so already."""
        with self._exclusive():
            wanted = self._wanted()
            self._start()
            self._converge(replace(wanted, size=_checked_size(size or wanted.size)))

    def deploy(self, reference: str, canary_percent: int | None = None, *, breaking: bool = False) -> None:
        """Serve the bundle of a channel or digest; with `canary_percent`, as a canary beside the live one.

        A bundle that breaks callers of the live one is rejected unless `breaking` is set.
        """
        with self._running():
            digest = self._store.resolve(reference)
            self._check_callers(digest, breaking=breaking)
            if canary_percent is None:
                self._converge(replace(self._load(), live=digest, canary=None), by="fleet deploy")
                return
            wanted = self._wanted()
            if wanted.live in (None, digest):
                raise ConfigurationError(
                    f"{digest[:12]} is already live"
                    if wanted.live
                    else "nothing is live: deploy without --canary first"
                )
            if not 1 <= canary_percent <= 99:
                raise ConfigurationError(f"--canary is {canary_percent}; it must be 1 to 99 percent of the requests")
            self._converge(replace(wanted, canary=Canary(digest, canary_percent)))

    def scale(self, size: int) -> None:
        """Change the number of replicas of the live bundle."""
        with self._running():
            self._converge(replace(self._wanted(), size=_checked_size(size)))

    def promote(self, *, breaking: bool = False) -> None:
        """Make the canary the live bundle; `breaking` as for `deploy`."""
        with self._running():
            wanted = self._wanted()
            if wanted.canary is None:
                raise ConfigurationError("there is no canary to promote; `fleet deploy REF --canary PERCENT` makes one")
            self._check_callers(wanted.canary.digest, breaking=breaking)
            self._converge(replace(wanted, live=wanted.canary.digest, canary=None), by="fleet promote")

    def rollback(self) -> None:
        """Remove the canary; without one, return to the bundle that was live before."""
        with self._running():
            wanted = self._wanted()
            if wanted.canary is not None:
                self._converge(replace(wanted, canary=None))
                return
            channel = self._store.read("live")
            if channel is None or channel.previous is None:
                raise ConfigurationError("no other bundle was live before, so there is nothing to roll back to")
            self._converge(replace(wanted, live=channel.previous), by="fleet rollback")

    def down(self) -> None:
        """Stop every process of the fleet; the live bundle and the size are remembered."""
        with self._exclusive():
            self._supervisor.shut_down()
            self._balancer.forget()
            fleet_state.save(self._state_path, replace(self._load(), replicas=()))

    def status(self) -> dict[str, Any]:
        """Return what runs and serves, and the problems: see `fleet.monitoring.status`."""
        supervisor = Supervisor(self._settings.root, _STATUS_LIMIT_S)
        return fleet_status.of(self._settings, self._load(), self._store.read("live"), supervisor, self._proxy)

    def _check_callers(self, digest: str, *, breaking: bool) -> None:
        live = self._store.read("live")
        callers.check(live.digest if live else None, digest, self._installed.bundle, breaking=breaking)

    def _converge(self, wanted: State, by: str | None = None) -> None:
        """Bring the fleet from its saved state to the wanted one.

        Args:
            by: who moves the channel `live` to the wanted bundle; None: it names that bundle already.

        Raises:
            UnavailableError: not all that is wanted serves.
        """
        saved = self._load()
        private_directory(self._settings.root / "run")
        for digest in wanted.counts:
            self._installed.bundle(digest)  # the source of later starts, too, was verified by today's keys
        self._clear_away(saved)
        # Before Envoy is started, which reads these files; a killed command may have left others.
        self._proxy.write(saved)
        self._balancer.ensure()
        saved = replace(saved, unfit=self._unfit(saved))
        channel = self._store.read("live")
        fresh: list[Replica] = []
        try:
            for digest, count in replace(wanted, replicas=saved.replicas, unfit=saved.unfit).missing.items():
                fresh += self._start_replicas(digest, count, replace(saved, replicas=(*saved.replicas, *fresh)))
            serving = replace(wanted, replicas=(*saved.replicas, *fresh), unfit=saved.unfit)
            # New endpoints under the old weights: Envoy checks their health before they get a request.
            self._proxy.route(replace(saved, replicas=serving.replicas))
            self._proxy.wait_until_healthy(fresh)
            if by and wanted.live and (channel is None or channel.digest != wanted.live):
                # If this process is killed before the state is saved, `fleet up` finds the moved channel and serves it.
                self._store.move("live", wanted.live, expected=channel, by=by)
        # SIGTERM and Ctrl-C too: replicas that no state names would run on, unseen.
        except BaseException:
            try:
                self._proxy.write(saved)
            finally:
                self._supervisor.remove([replica.name for replica in fresh])
            raise
        # Saved before the routes change: a command that is killed in between is completed by the next one, not undone.
        fleet_state.save(self._state_path, serving)
        self._proxy.route(serving)
        self._proxy.wait_until_healthy(self._retire(serving).replicas)

    def _unfit(self, state: State) -> frozenset[str]:
        """Return the replicas that nothing would restart, and those still unhealthy to Envoy after some time."""
        supervised = self._supervisor.states()
        kept = [replica for replica in state.replicas if replica.name in supervised]
        sick = self._proxy.unhealthy(kept, _SETTLE_S)
        strays = [replica for replica in state.replicas if replica.name not in supervised]
        if unfit := [*strays, *sick]:
            self._tell(f"replacing {_names(unfit)}")
        return frozenset(replica.name for replica in unfit)

    def _retire(self, serving: State) -> State:
        """Drain and stop the surplus replicas; return the state without them."""
        surplus = serving.surplus
        draining = replace(serving, draining=frozenset(replica.name for replica in surplus))
        if surplus:
            self._tell(f"draining {_names(surplus)}")
            self._proxy.route(draining)
            if not self._proxy.wait_until_idle(surplus):
                self._tell("some requests did not finish draining in time; their callers get an error")
        remaining = draining.without(surplus)
        # Before they are stopped: programs that no state names are cleared away by the next command.
        fleet_state.save(self._state_path, remaining)
        self._proxy.route(remaining)
        self._supervisor.remove([replica.name for replica in surplus])
        return remaining

    def _start_replicas(self, digest: str, count: int, state: State) -> list[Replica]:
        """Start replicas and check their golden answers; stop all of them if one fails."""
        bundle, python = self._installed.bundle(digest), self._installed.python(digest)
        for _ in range(_PORT_TRIES):
            first = self._settings.admin_port or self._settings.replica_port
            planned = replicas.plan(digest, count, first, state)
            self._tell(f"starting {count} × {manifest.read(bundle).name} {digest[:12]}: {_names(planned)}")
            try:
                self._run(planned, bundle, python)
            # A planned port is not reserved; another program may take it before the replica starts.
            except replicas.PortTakenError as error:
                self._tell(str(error))
                continue
            return planned
        raise UnavailableError(
            f"ports above {first} were taken repeatedly between planning and start; set another BULKHEAD_REPLICA_PORT"
        )

    def _run(self, planned: list[Replica], bundle: Path, python: Path) -> None:
        try:
            # All are started before the first is waited for, so that they load at the same time.
            for replica in planned:
                self._supervisor.add(replicas.program(replica, bundle, python, sys.executable, self._settings))
            for replica in planned:
                self._await_golden(replica, bundle)
        except BaseException:
            self._supervisor.remove([replica.name for replica in planned])
            raise

    def _await_golden(self, replica: Replica, bundle: Path) -> None:
        replicas.wait_until_ready(
            replica,
            self._settings,
            state_of=lambda: self._supervisor.states().get(replica.name),
            end_of=lambda: self._supervisor.end_of(replica.name),
            log=lambda: self._supervisor.log(replica.name),
        )
        count = replicas.check_golden(replica, bundle, self._settings)
        self._tell(f"{replica.name} is ready: {count} golden answers of {count} are right")

    def _start(self) -> None:
        """Start supervisord unless one runs and answers; programs of an earlier one serve until they are replaced."""
        if not self._supervisor.answers():
            self._supervisor.start({name: os.environ[name] for name in _INHERITED if name in os.environ})
            left = self._supervisor.strays()
            saved = self._load()
            # Replicas of a killed supervisord may have outlived it; the others are gone for good.
            alive = tuple(replica for replica in saved.replicas if replica.name in left)
            fleet_state.save(self._state_path, replace(saved, replicas=alive))
        self._watch()

    def _watch(self) -> None:
        """Start the watchdog unless it runs and looks."""
        program = watchdog.program(self._settings)
        if not self._supervisor.runs(program):
            self._supervisor.remove([program.name])
            self._supervisor.add(program)
        elif not heartbeat.looks(self._settings.root):
            self._supervisor.kill(program.name)
        else:
            return
        heartbeat.begin(self._settings.root)

    def _clear_away(self, state: State) -> None:
        """Remove what an interrupted command left behind: half-made installations and programs."""
        self._installed.clear_away()
        programs = {*self._supervisor.states(), *self._supervisor.strays()}
        known = {watchdog.NAME, *(replica.name for replica in state.replicas)}
        self._supervisor.remove([name for name in programs - known if not balancer.epochs([name])])

    def _wanted(self) -> State:
        """Return the saved state with the store's live bundle, which another fleet may have moved.

        Raises:
            ConfigurationError: the store names none though a bundle was live. It is another store, or lost; serving goes on.
        """
        saved, channel = self._load(), self._store.read("live")
        if channel is None and saved.live is not None:
            raise ConfigurationError(
                f"{fleet_status.silence(self._store.location, saved.live)}; nothing was changed. If that store is gone for good, "
                f"serve from this one with `fleet deploy`, or where the fleet is down, delete {self._state_path} first"
            )
        return replace(saved, live=channel.digest if channel else None)

    def _load(self) -> State:
        return fleet_state.load(self._state_path)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Hold the fleet's lock for one command, and require that the fleet runs."""
        with self._exclusive():
            if not self._supervisor.is_running():
                raise UnavailableError("the fleet is down; `fleet up` starts it")
            yield

    def _exclusive(self) -> AbstractContextManager[None]:
        return exclusive(self._settings.root, self._tell)


def _checked_size(size: int) -> int:
    if not 1 <= size <= _MOST_REPLICAS:
        raise ConfigurationError(f"the fleet's size is {size}; it must be 1 to {_MOST_REPLICAS}")
    return size


def _names(entries: tuple[Replica, ...] | list[Replica]) -> str:
    return ", ".join(entry.name for entry in entries)
