"""The live bundle in the store, and the last one seen there.

A store without a live bundle may be the wrong store, so it does not prove that no model is live.
"""

from __future__ import annotations

from contract.errors import ConfigurationError
from contract.files import private_directory, write_atomically
from contract.store.store import Store
from pipelines.paths import var_directory

_SEEN = "live-seen"


def digest(store: Store) -> str | None:
    """Return the digest of the live bundle, and remember it below `BULKHEAD_VAR`; None on a machine that never saw one.

    Raises:
        ConfigurationError: the store has no live bundle although one was seen, so it is another store, or lost.
    """
    channel, seen = store.read("live"), var_directory() / _SEEN
    known = seen.read_text() if seen.exists() else None
    if channel is None and known:
        raise ConfigurationError(
            f"the store {store.location} has no live bundle, although {known[:12]} was live: set BULKHEAD_STORE to the store that it "
            f"came from. If that store is gone for good, or to compare with no live model, delete {seen}"
        )
    if channel is None:
        return None
    if channel.digest != known:
        private_directory(var_directory())
        write_atomically(seen, channel.digest.encode())
    return channel.digest
