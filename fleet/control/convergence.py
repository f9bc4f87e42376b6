"""The convergence of a fleet, the only way from one state to another.

Fallible steps come first: no serving replica is touched before the new ones have given their golden answers and passed Envoy's health
checks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from contract.bundle import manifest
from contract.errors import UnavailableError
from contract.files import private_directory
from contract.store.store import Store
from fleet.configuration import state as fleet_state
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State
from fleet.control.program import NAME
from fleet.envoy import balancer
from fleet.envoy.balancer import Balancer
from fleet.envoy.proxy import Proxy
from fleet.isolation import files, sandbox
from fleet.isolation.sandbox import Sandbox
from fleet.monitoring import shadow
from fleet.monitoring.page import program as page
from fleet.store.installed import Installed
from fleet.supervisor import replicas
from fleet.supervisor.supervision import Supervisor

_SETTLE_S = 5.0
_PORT_TRIES = 3


def _awaited(among: Iterable[Replica], saved: State, wanted: State) -> list[Replica]:
    """Return the replicas whose health decides: not those of a shadow when what callers get changes.

    A shadow that gets no CPU time must not hold up a rollback. The reconciler replaces it afterwards.
    """
    is_urgent = wanted.weights != saved.weights
    return [each for each in among if not (is_urgent and wanted.is_in_background(each.digest))]


class Convergence:
    """The way from the saved state of a fleet to the wanted one; `tell` gets a line of progress at every step."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        installed: Installed,
        supervisor: Supervisor,
        proxy: Proxy,
        tell: Callable[[str], None],
    ) -> None:
        self._settings, self._store, self._installed = settings, store, installed
        self._supervisor, self._proxy, self._tell = supervisor, proxy, tell
        self._balancer = Balancer(settings, supervisor, proxy, tell)

    def forget(self) -> None:
        """Remove what Envoys leave behind, once none runs."""
        self._balancer.forget()

    def converge(self, wanted: State, declared: AbstractContextManager[None], by: str | None = None) -> None:
        """Bring the fleet from its saved state to the wanted one.

        Args:
            declared: writes the wanted state's `fleet.yaml` when it ends.
            by: who moves the channel `live` to the wanted bundle; None: it names that bundle already.

        Raises:
            UnavailableError: not all that is wanted serves.
        """
        saved = fleet_state.load(self._settings.state)
        self._sandbox, self._wanted = self._find_sandbox(wanted), wanted
        for name in ("run", shadow.DIRECTORY):
            private_directory(self._settings.root / name)
        for digest in wanted.counts:
            self._installed.bundle(digest)  # the source of later starts, too, was verified by today's keys
        self._clear_away(saved)
        # Before Envoy is started, which reads these files; a killed command may have left others.
        self._proxy.write(saved)
        self._balancer.ensure(saved.replicas)
        saved = replace(saved, unfit=self._unfit(saved, wanted))
        # A repair must work without the store.
        channel = self._store.read("live") if by else None
        fresh: list[Replica] = []
        try:
            for digest, count in replace(wanted, replicas=saved.replicas, unfit=saved.unfit).missing.items():
                fresh += self._start_replicas(digest, count, replace(saved, replicas=(*saved.replicas, *fresh)))
            serving = replace(wanted, replicas=(*saved.replicas, *fresh), unfit=saved.unfit)
            # New endpoints under the old weights: Envoy checks their health before they get a request.
            self._proxy.route(replace(saved, replicas=serving.replicas))
            self._proxy.wait_until_healthy(fresh)
            # A command killed after the first of these three, channel, fleet.yaml and state, is completed by the reconciler, else undone.
            with declared:
                if by and wanted.live and (channel is None or channel.digest != wanted.live):
                    self._store.move("live", wanted.live, expected=channel, by=by)
        # SIGTERM and Ctrl-C too: replicas that no state names would run on, unseen.
        except BaseException:
            try:
                self._proxy.write(saved)
            finally:
                self._supervisor.remove([replica.name for replica in fresh])
            raise
        # Saved before the routes change: a command that is killed in between is completed by the next one, not undone.
        fleet_state.save(self._settings.state, serving)
        self._compare(serving)
        self._proxy.route(serving)
        remaining = self._retire(serving)
        self._proxy.wait_until_healthy(_awaited(remaining.replicas, saved, wanted))

    def _compare(self, state: State) -> None:
        """Run the comparison of the shadow with the live bundle; none without a shadow."""
        program = shadow.program(self._settings, state)
        if program is None:
            if shadow.NAME in self._supervisor.states():
                self._supervisor.remove([shadow.NAME])
        elif not self._supervisor.runs(program):
            self._supervisor.remove([shadow.NAME])
            shadow.begin(self._settings.root)
            self._supervisor.add(program)
            shadow.wait(self._settings.root)

    def _unfit(self, state: State, wanted: State) -> frozenset[str]:
        """Return the wanted bundles' replicas that nothing would restart, that are unhealthy to Envoy for long, or in another sandbox."""
        supervised = self._supervisor.states()
        # The rollback of a canary that crashes does not wait for it to settle.
        lasting = [replica for replica in state.replicas if replica.digest in wanted.counts]
        kept = [replica for replica in lasting if replica.name in supervised]
        sick = self._proxy.unhealthy(_awaited(kept, state, wanted), _SETTLE_S)
        strays = [replica for replica in lasting if replica.name not in supervised]
        # One that is isolated better than is possible today stays.
        as_wanted = self._sandbox.kind != sandbox.NONE or wanted.isolation == sandbox.NONE
        other = [
            each
            for each in kept
            if (as_wanted and each.sandbox != str(self._sandbox))
            or each.background != wanted.is_in_background(each.digest)
        ]
        if unfit := [*strays, *sick, *(each for each in other if each not in sick)]:
            self._tell(f"replacing {names(unfit)}")
        return frozenset(replica.name for replica in unfit)

    def _find_sandbox(self, wanted: State) -> Sandbox:
        """Return the sandbox of replicas started from now on, and save what is missing for it."""
        found = sandbox.find(wanted.isolation, self._settings)
        if found.problem:
            self._tell(found.problem)
        sandbox.save(found, self._settings.root)
        return Sandbox(found.kind, self._settings.replica_uid, wanted.memory_mb)

    def _retire(self, serving: State) -> State:
        """Drain and stop the surplus replicas; return the state without them."""
        surplus = serving.surplus
        draining = replace(serving, draining=frozenset(replica.name for replica in surplus))
        if surplus:
            self._tell(f"draining {names(surplus)}")
            self._proxy.route(draining)
            if not self._proxy.wait_until_idle(surplus):
                self._tell("some requests did not finish draining in time; their callers get an error")
        remaining = draining.without(surplus)
        # Before they are stopped: programs that no state names are cleared away by the next command.
        fleet_state.save(self._settings.state, remaining)
        self._proxy.route(remaining)
        self._supervisor.remove([replica.name for replica in surplus])
        return remaining

    def _start_replicas(self, digest: str, count: int, state: State) -> list[Replica]:
        """Start replicas and check their golden answers; stop all of them if one fails."""
        bundle, python = self._installed.bundle(digest), self._installed.python(digest)
        if self._sandbox.kind == sandbox.OTHER_USER:
            for tree in (bundle, python.parents[1]):
                files.make_readable(tree)
        for _ in range(_PORT_TRIES):
            first = self._settings.admin_port or self._settings.replica_port
            background = self._wanted.is_in_background(digest)
            planned = replicas.plan(digest, count, first, state, self._sandbox, background=background)
            self._tell(f"starting {count} × {manifest.read(bundle).name} {digest[:12]}: {names(planned)}")
            try:
                self._run(planned, bundle, python, state)
            # A planned port is not reserved; another program may take it before the replica starts.
            except replicas.PortTakenError as error:
                self._tell(str(error))
                continue
            return planned
        raise UnavailableError(
            f"ports above {first} were taken repeatedly between planning and start; set another BULKHEAD_REPLICA_PORT"
        )

    def _run(self, planned: list[Replica], bundle: Path, python: Path, state: State) -> None:
        """Start replicas and put each into rotation when it is ready, where its bundle has a share of the requests."""
        try:
            # All are started before the first is waited for, so that they load at the same time.
            for replica in planned:
                self._supervisor.add(replicas.program(replica, bundle, python, sys.executable, self._settings))
            for index, replica in enumerate(planned, start=1):
                self._await_golden(replica, bundle)
                # Envoy checks its health before it gets a request.
                self._proxy.write(replace(state, replicas=(*state.replicas, *planned[:index])))
        except BaseException:
            try:
                self._proxy.write(state)
            finally:
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

    def _clear_away(self, state: State) -> None:
        """Remove what an interrupted command left behind: half-made installations and programs."""
        self._installed.clear_away()
        programs = {*self._supervisor.states(), *self._supervisor.strays()}
        known = {NAME, page.NAME, shadow.NAME, *(replica.name for replica in state.replicas)}
        self._supervisor.remove([name for name in programs - known if not name.startswith(balancer.PREFIX)])


def names(entries: tuple[Replica, ...] | list[Replica]) -> str:
    """Return the names of replicas for a message."""
    return ", ".join(entry.name for entry in entries)
