"""The fleet of one machine: replicas under supervisord behind Envoy, brought to a wanted state and kept there.

Every verb changes what is declared in `fleet.yaml`, or the store's channel `live`, and then converges. The file, the channel and the
state change together, once all that can fail has been done: a command that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from typing import Any, Literal

from contract.errors import BulkheadError, ConfigurationError, UnavailableError
from fleet.configuration import declaration_text, history
from fleet.configuration import state as fleet_state
from fleet.configuration.changes import Cause
from fleet.configuration.declaration import Declaration, Mirror, Trial
from fleet.configuration.edit import Edit
from fleet.configuration.settings import Settings
from fleet.configuration.state import Bounds, Canary, State
from fleet.control.convergence import Convergence
from fleet.control.keepers import Keepers
from fleet.control.wanted import Wanted, WantedReader
from fleet.envoy.proxy import Proxy
from fleet.isolation import sandbox, weight
from fleet.monitoring import status as fleet_status
from fleet.store import callers
from fleet.store.installed import Installed
from fleet.supervisor.lock import LIMIT_S, exclusive
from fleet.supervisor.supervision import Supervisor

# Shorter than a command's: `status` must also come back while supervisord hangs.
_STATUS_LIMIT_S = 2.0
APPLY, REPAIR = "apply", "repair"  # the reconciler's verbs in the history
_FIRST_PERCENT = 1  # of a canary that is judged automatically


class Fleet:
    """The fleet whose files lie in `settings.root`.

    Args:
        tell: gets a line of progress at every step.
        cause: who changes it and why, for the history; default: the user of this process.
        patience_s: how long to wait for another command.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[str], None],
        cause: Cause | None = None,
        patience_s: float = LIMIT_S,
    ) -> None:
        self._settings, self._tell, self._patience_s = settings, tell, patience_s
        self._cause = cause or Cause.person()
        self._store = settings.open_store()
        self._installed = Installed(settings.root, self._store, settings.verify_keys)
        self._supervisor = Supervisor(settings.root)
        self._proxy = Proxy(settings)
        self._keepers = Keepers(settings, self._supervisor, tell)
        self._wanted = WantedReader(settings, self._store, tell)
        self._convergence = Convergence(settings, self._store, self._installed, self._supervisor, self._proxy, tell)

    def up(self, replicas: int | Bounds | None = None, *, keep: bool = False, isolated: bool = False) -> None:
        """Start what does not run, and serve what is declared, with the bundle of the channel `live`; do nothing where all that is so.

        Args:
            replicas: declares another number of replicas.
            keep: where `fleet.yaml` is refused, serve what served before.
            isolated: declares that isolation is required.

        Raises:
            ConfigurationError: isolation is required, and this machine cannot isolate.
        """
        with self._exclusive():
            wanted = self._wanted.read(keep=keep)
            if replicas is not None:
                wanted = wanted.declaring(replicas=replicas)
            if isolated:
                wanted = wanted.declaring(isolation="required")
            # Before anything is started.
            sandbox.find(wanted.declared.isolation, self._settings)
            if not keep:
                with suppress(UnavailableError):  # what is started waits for the store
                    wanted.declared.applied(self._load(), self._wanted.resolved)
            self._keepers.start()
            self._change("up", wanted)
            self._keepers.await_guard()

    def deploy(
        self,
        reference: str,
        canary: int | Literal["auto"] | None = None,
        *,
        mirrored: int | None = None,
        breaking: bool = False,
    ) -> None:
        """Serve the bundle of a channel or digest; as a canary beside the live one, or as its shadow, if asked for.

        Args:
            canary: percent of the requests; `auto`: the judge raises it from 1 to 100, or rolls back.
            mirrored: percent of the requests of which it gets copies, as the shadow.
            breaking: accept a bundle that breaks callers of the live one.
        """
        with self._running():
            digest = self._store.resolve(reference)
            if mirrored is not None:
                mirror = Mirror(digest, mirrored)
                self._change("shadow", self._wanted.read().declaring(shadow=mirror), digest, breaking=True)
            elif canary is None:
                self._check_callers(digest, breaking=breaking)
                # Not `read`: what a lost store named live before does not matter any more.
                wanted = self._wanted.declared(digest).moved_to(digest)
                self._change("deploy", wanted, digest, moved_by="fleet deploy")
            else:
                trial = Trial(digest, _FIRST_PERCENT, "auto") if canary == "auto" else Trial(digest, canary)
                self._change("canary", self._wanted.read().declaring(canary=trial), digest, breaking=breaking)

    def scale(self, replicas: int | Bounds) -> None:
        """Declare another number of replicas of the live bundle, or bounds between which the autoscaler chooses it."""
        with self._running():
            wanted = self._wanted.read()
            before = wanted.declared.replicas
            if isinstance(replicas, Bounds) and isinstance(before, Bounds):
                replicas = replace(replicas, in_flight=before.in_flight)
            self._change("scale", wanted.declaring(replicas=replicas))

    def promote(self, *, breaking: bool = False) -> None:
        """Make the canary the live bundle; `breaking` as for `deploy`."""
        with self._running():
            self._promote(self._wanted.read(), breaking=breaking)

    def rollback(self, *, shadow: bool = False) -> None:
        """Remove the canary; without one, return to the bundle that was live before. With `shadow`, remove the shadow."""
        with self._running():
            wanted, saved = self._wanted.read(), self._load()
            if shadow:
                self._change("unshadow", wanted.declaring(shadow=None), saved.shadow)
                return
            if wanted.declared.canary is not None:
                digest = saved.canary.digest if saved.canary else None
                self._change("rollback", wanted.declaring(canary=None), digest)
                return
            channel = self._store.read("live")
            if channel is None or channel.previous is None:
                raise ConfigurationError("no other bundle was live before, so there is nothing to roll back to")
            self._change("rollback", wanted.moved_to(channel.previous), channel.digest, moved_by="fleet rollback")

    def apply(self, edit: Edit) -> None:
        """Do what a controller asks for, unless the canary or shadow that it judged has been replaced meanwhile.

        A promotion reads and writes the store. The rest needs it only for a bundle that `fleet.yaml` newly names, or whose copy is
        damaged or was verified by other keys.
        """
        with self._running():
            saved = self._load()
            # A judge's rollback must wait neither for the store nor for a person who edits the file.
            wanted = (
                self._wanted.read(keep=True) if edit.verb == "promote" else self._wanted.declared(saved.live, keep=True)
            )
            trial = wanted.declared.canary
            if edit.bundle not in (None, saved.canary and saved.canary.digest, saved.shadow):
                return
            if edit.verb == "scale":
                self._change("scale", wanted, size=edit.value)
            elif edit.verb == "unshadow":
                self._change("unshadow", wanted.declaring(shadow=None), edit.bundle)
            elif trial is None:
                return
            elif edit.verb == "promote":
                self._promote(wanted, breaking=False)
            elif edit.verb == "rollback":
                self._change("rollback", wanted.declaring(canary=None), edit.bundle)
            elif edit.value is not None:
                self._change("weight", wanted.declaring(canary=replace(trial, weight=edit.value)), edit.bundle)

    def start(self) -> None:
        """Start supervisord with the reconciler, where they do not run."""
        with self._exclusive():
            self._keepers.start()

    def reconcile(self) -> None:
        """Apply what was edited in `fleet.yaml` or moved in the store."""
        with self._running():
            self._change(APPLY, self._wanted.read())

    def repair(self) -> None:
        """Replace what does not serve, and clear away what a killed command left; what is in force stays so."""
        with self._running():
            saved = self._load()
            self._keepers.ensure_page()
            self._change(REPAIR, Wanted(Declaration.of(saved), None, saved.live, writes=False))

    def down(self) -> None:
        """Stop every process of the fleet; what is declared and the live bundle are remembered."""
        with self._exclusive():
            self._supervisor.shut_down()
            self._convergence.forget()
            weight.forget()
            fleet_state.save(self._settings.state, replace(self._load(), replicas=()))

    def status(self) -> dict[str, Any]:
        """Return what runs and serves, and the problems: see `fleet.monitoring.status`."""
        supervisor = Supervisor(self._settings.root, _STATUS_LIMIT_S)
        return fleet_status.of(self._settings, self._load(), self._store.read("live"), supervisor, self._proxy)

    def _promote(self, wanted: Wanted, *, breaking: bool) -> None:
        trial = wanted.declared.canary
        if trial is None:
            raise ConfigurationError("there is no canary to promote; `fleet deploy REF --canary PERCENT` makes one")
        digest = self._wanted.resolved(trial.bundle)
        self._check_callers(digest, breaking=breaking)
        self._change("promote", wanted.moved_to(digest), digest, moved_by="fleet promote")

    def _change(
        self,
        verb: str,
        wanted: Wanted,
        bundle: str | None = None,
        *,
        moved_by: str | None = None,
        size: int | None = None,
        breaking: bool = False,
    ) -> None:
        """Converge to what is wanted, and tell the history if that changes something."""
        saved, path = self._load(), self._settings.declaration
        text = declaration_text.rendered(wanted.declared, wanted.content, path) if wanted.writes else None
        state = wanted.declared.applied(
            replace(saved, live=wanted.live, size=size or saved.size),
            self._wanted.resolved,
        )
        self._check_trials(saved, state, breaking=breaking)
        written = declaration_text.replaced(path, wanted.content, text) if text else nullcontext()
        verdict = "stopped before its end"
        try:
            self._convergence.converge(state, written, by=moved_by)
            verdict = "done"
            (self._settings.root / fleet_status.REFUSAL).unlink(missing_ok=True)
        except BulkheadError as error:
            verdict = history.verdict_of(error)
            raise
        finally:
            if (changed := _changes(saved, state)) or verdict != "done":
                cause = replace(self._cause, evidence={**changed, **self._cause.evidence})
                history.append(self._settings.root, cause, verb, bundle or _subject(saved, state), verdict)

    def _check_trials(self, saved: State, wanted: State, *, breaking: bool) -> None:
        """Refuse a canary or shadow that cannot be, and one that breaks callers of the live bundle.

        Raises:
            ConfigurationError: nothing is live, or that bundle is, or it breaks callers.
        """
        for digest in (wanted.canary.digest if wanted.canary else None, wanted.shadow):
            if digest is None:
                continue
            if wanted.live is None:
                raise ConfigurationError(f"nothing is live, so {digest[:12]} cannot run beside it: deploy one first")
            if digest == wanted.live:
                raise ConfigurationError(f"{digest[:12]} is already live, so it cannot be the canary or the shadow")
        before = saved.canary.digest if saved.canary else None
        if wanted.canary and wanted.canary.digest != before:
            self._check_callers(wanted.canary.digest, breaking=breaking)

    def _check_callers(self, digest: str, *, breaking: bool) -> None:
        live = self._store.read("live")
        callers.check(live.digest if live else None, digest, self._installed.bundle, breaking=breaking)

    def _load(self) -> State:
        return fleet_state.load(self._settings.state)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Hold the fleet's lock for one command, and require that the fleet runs."""
        with self._exclusive():
            if not self._supervisor.is_running():
                raise UnavailableError("the fleet is down; `fleet up` starts it")
            yield

    def _exclusive(self) -> AbstractContextManager[None]:
        return exclusive(self._settings.root, self._tell, self._patience_s)


def _changes(before: State, after: State) -> dict[str, Any]:
    """Return what differs in the wanted part of two states, as pairs."""
    old, new = asdict(before), asdict(after)
    del new["replicas"], new["draining"], new["unfit"]
    return {name: [old[name], value] for name, value in new.items() if old[name] != value}


def _subject(before: State, after: State) -> str | None:
    """Return the bundle that a change is about: the new live one, else the canary."""
    if before.live != after.live or before.canary == after.canary:
        return after.live
    return (after.canary or before.canary or Canary("", 0)).digest
