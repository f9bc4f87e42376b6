"""`publish`: put the bundle into the store and make it the candidate.

Nothing else in the training plane writes outside its workspace.
"""

from __future__ import annotations

import json

from contract.bundle import evidence, manifest, signature
from contract.errors import BundleError, ConflictError
from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.commands.costs import cli as costs
from pipelines.commands.publish.rehearsal import describe, rehearse
from pipelines.data.ledger import batch_id, project_ledger, refuse_dropped
from pipelines.machine import looks
from pipelines.machine.settings import known_keys, open_store, signing_key
from pipelines.params.params import Params
from pipelines.paths import var_directory


def run(params: Params) -> str:
    """Put `build/bundle` into the store, signed, and move the channel `candidate` to it; repeating it changes nothing.

    A bundle new to the store is rehearsed first; the result is in `reports/rehearsal.json`. What it cost, to make and to ask, is in
    `var/costs/bundles/<digest>.json`: beside the bundle, for equal inputs give an equal digest and never equal seconds.

    Raises:
        BundleError: the bundle failed its rehearsal.
        ModelRejectedError: the hold-out has judged more models than `gates.looks`.
        DataRejectedError: the model was trained on a batch that has been dropped.
        ConflictError: a publisher of another bundle has moved the channel meanwhile; the bundle is stored.
    """
    partitions = manifest.read(paths.BUNDLE).inputs["partitions"]
    refuse_dropped(project_ledger().read(), [batch_id(month, digest) for month, digest in partitions.items()])
    key = signing_key()
    store = open_store(private_key=key, trusted=(signature.public_key_of(key), *known_keys()))
    before, digest = store.read("candidate"), manifest.digest_of(paths.BUNDLE)
    if digest not in store.digests():
        _check_looks(params.gates.looks)
        found = rehearse(paths.BUNDLE, params.serving.budget, var_directory())
        write_atomically(paths.REHEARSAL, canonical_json(found))
        print(describe(found))
        write_atomically(
            var_directory() / "costs/bundles" / f"{digest}.json", canonical_json(costs.of_bundle(params, paths.BUNDLE))
        )
    store.put(paths.BUNDLE)
    if before and before.digest == digest:
        return f"{digest} is the candidate already"
    try:
        store.move("candidate", digest, expected=before, by="publish")
    except ConflictError:
        moved = store.read("candidate")
        if moved is None or moved.digest != digest:
            raise
        return f"{digest} is the candidate already: another publisher of it was faster"
    return f"{digest} is now the candidate"


def _check_looks(limit: int) -> None:
    """Raise ModelRejectedError if the bundle's hold-out has judged too many models.

    The look is recorded here too: DVC may have restored the evaluation from a cache that other machines share.
    """
    path = paths.BUNDLE / evidence.GATES
    if not path.is_file():
        raise BundleError(
            f"{path} is not there: the bundle does not say which hold-out judged it; run `dvc repro bundle` again"
        )
    approval = json.loads(path.read_bytes())
    if look := looks.look_of(approval):
        looks.check(looks.record(look, approval["verdict"]), limit, approval["predictions"]["rows"])
