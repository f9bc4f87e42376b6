"""The server inside a bundle: HTTP and gRPC front ends over one predictor core."""

import os
import sys
from pathlib import Path
from types import ModuleType

VERSION = "0.1.0"
# Variables from the supervisor to its worker: the directory of its start, and the descriptor on which to report the loading of the bundle.
STARTED_IN, TELL_ON = "BULKHEAD_STARTED_IN", "BULKHEAD_TELL_ON"
# A worker's reports, one byte each; a third is the exit code of the error that keeps it from serving.
LOADING, LOADED = b"\xfe", b"\xff"


def _keep_bundle_unchanged() -> None:
    """Keep Python from writing bytecode into the bundle, whose name is the digest of all its files.

    Python writes this module's own bytecode before it runs the module, so that file is removed.
    """
    if not (Path(__file__).parents[2] / "manifest.json").is_file():
        return
    sys.dont_write_bytecode = True
    cache = Path(__file__).parent / "__pycache__"
    try:
        (cache / f"__init__.{sys.implementation.cache_tag}.pyc").unlink(missing_ok=True)
        cache.rmdir()
    except OSError:
        pass  # read-only or missing: then no bytecode was written either


def tell(what: bytes) -> None:
    """Report the loading of the bundle to BentoML's supervisor; without `TELL_ON`, as in a fleet, the exit code is enough."""
    if descriptor := os.environ.get(TELL_ON):
        os.write(int(descriptor), what)


_keep_bundle_unchanged()
# numpy's docstrings: nobody reads those of a server, which would attach them for 5 ms of its start.
for _name in ("_add_newdocs", "_add_newdocs_scalars"):
    sys.modules.setdefault(f"numpy._core.{_name}", ModuleType("unused"))
tell(LOADING)  # before anything is imported that may fail
