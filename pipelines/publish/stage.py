"""`publish`: the bundle goes into the store and becomes the candidate; all that training writes beyond its workspace."""

from __future__ import annotations

from contract import manifest
from contract.store import Store
from pipelines import paths
from pipelines.params import Params
from pipelines.quarantine.ledger import batch_id, project_ledger, refuse_dropped
from pipelines.settings import signing_key, store_location


def run(_params: Params) -> str:
    """Put `build/bundle` into the store and move the channel `candidate` to it; publishing it again changes nothing.

    Raises:
        DataRejectedError: the model was made from a batch that has been dropped.
        ConflictError: another publisher moved the channel meanwhile; the bundle is stored, the channel is theirs.
    """
    partitions = manifest.read(paths.BUNDLE).inputs["partitions"]
    refuse_dropped(project_ledger().read(), [batch_id(month, digest) for month, digest in partitions.items()])
    store = Store(store_location(), private_key=signing_key())
    before = store.read("candidate")
    digest = store.put(paths.BUNDLE)
    if before and before.digest == digest:
        return f"{digest} is the candidate already"
    store.move("candidate", digest, expected=before, by="publish")
    return f"{digest} is now the candidate"
