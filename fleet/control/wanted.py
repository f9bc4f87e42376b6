"""What a fleet is to be: `fleet.yaml`, with the live bundle of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from contract.errors import BundleError, ConfigurationError
from contract.store.store import Store
from fleet.configuration import declaration
from fleet.configuration import state as fleet_state
from fleet.configuration.declaration import Declaration
from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.monitoring import status as fleet_status


@dataclass(frozen=True)
class Wanted:
    """What a verb starts from: the declaration, the bytes that it was read from, and the live bundle of the store.

    `writes` is False where the file is refused and stays as it is.
    """

    declared: Declaration
    content: bytes | None
    live: str | None
    writes: bool = True

    def declaring(self, **changes: Any) -> Wanted:
        """Return it with other values of some keys of the declaration."""
        return replace(self, declared=replace(self.declared, **changes))

    def moved_to(self, live: str) -> Wanted:
        """Return it with another live bundle: a canary is tried against one live bundle, and none is its own shadow."""
        shadow = self.declared.shadow
        is_live = bool(shadow and live.startswith(shadow.bundle))
        return replace(self.declaring(canary=None, shadow=None if is_live else shadow), live=live)


class WantedReader:
    """The reader of what is wanted.

    Args:
        tell: gets a line where `fleet.yaml` is refused and what served before goes on.
    """

    def __init__(self, settings: Settings, store: Store, tell: Callable[[str], None]) -> None:
        self._settings, self._store, self._tell = settings, store, tell

    def read(self, *, keep: bool = False) -> Wanted:
        """Return what is declared, with the store's live bundle, which another fleet may have moved.

        Raises:
            ConfigurationError: `fleet.yaml` is refused; or the store names no bundle though one was live. It is another store, or lost;
                serving goes on.
        """
        saved, channel = self._saved(), self._store.read("live")
        if channel is None and saved.live is not None:
            raise ConfigurationError(
                f"{fleet_status.silence(self._store.location, saved.live)}; nothing was changed. If that store is gone for good, "
                f"serve from this one with `fleet deploy`, or where the fleet is down, delete {self._settings.state} first"
            )
        live = channel.digest if channel else None
        wanted = self.declared(live, keep=keep)
        # So a promotion that was killed after it had moved the channel is completed.
        return wanted.moved_to(live) if live and saved.live not in (None, live) else wanted

    def declared(self, live: str | None, *, keep: bool = False) -> Wanted:
        """Return what `fleet.yaml` says; where there is none, what the saved state fulfils."""
        try:
            found = declaration.read(self._settings.declaration)
        except ConfigurationError as error:
            if not keep:
                raise
            self._tell(f"{error}; what served before is served")
            return Wanted(Declaration.of(self._saved()), None, live, writes=False)
        declared, content = found or (Declaration.of(self._saved()), None)
        return Wanted(declared, content, live)

    def resolved(self, reference: str) -> str:
        """Return the digest that a reference in `fleet.yaml` names, without the store where that bundle runs already.

        Raises:
            ConfigurationError: no bundle of the store, or several, have a digest that begins so.
        """
        saved = self._saved()
        known = (saved.canary and saved.canary.digest, saved.shadow)
        if found := next((digest for digest in known if digest and digest.startswith(reference)), None):
            return found
        try:
            return self._store.resolve(reference)
        except BundleError as error:
            raise ConfigurationError(f"{self._settings.declaration}: {error}") from error

    def _saved(self) -> State:
        return fleet_state.load(self._settings.state)
