"""`publish`: the bundle goes into the store and becomes the candidate; all that training writes beyond its workspace."""

from __future__ import annotations

from contract.store import Store
from pipelines import paths
from pipelines.params import Params
from pipelines.settings import store_location


def run(_params: Params) -> str:
    """Put `build/bundle` into the store and move the channel `candidate` to it; publishing it again changes nothing.

    Raises:
        ConflictError: another publisher moved the channel meanwhile; the bundle is stored, the channel is theirs.
    """
    store = Store(store_location())
    before = store.read("candidate")
    digest = store.put(paths.BUNDLE)
    if before and before.digest == digest:
        return f"{digest} is the candidate already"
    store.move("candidate", digest, expected=before, by="publish")
    return f"{digest} is now the candidate"
