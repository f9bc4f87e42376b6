"""The live bundle, as the store names it, and the last one that was seen: a store that says nothing is not a fleet that serves nothing."""

from __future__ import annotations

from contract.errors import ConfigurationError
from contract.files import private_directory, write_atomically
from contract.store.store import Store
from pipelines.paths import var_directory

_SEEN = "live-seen"


def digest(store: Store) -> str | None:
    """Return the digest of the live bundle, and remember it below `BULKHEAD_VAR`; None on a machine that never saw one.

    Raises:
        ConfigurationError: the store names none though one was seen. It is another store, or lost.
    """
    channel, seen = store.read("live"), var_directory() / _SEEN
    known = seen.read_text() if seen.exists() else None
    if channel is None and known:
        raise ConfigurationError(
            f"the store {store.location} names no live bundle though {known[:12]} was live: set BULKHEAD_STORE to the store that it "
            f"came from. If that store is gone for good, or to compare with no live model, delete {seen}"
        )
    if channel is None:
        return None
    if channel.digest != known:
        private_directory(var_directory())
        write_atomically(seen, channel.digest.encode())
    return channel.digest
