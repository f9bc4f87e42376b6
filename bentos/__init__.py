"""The server inside a bundle: HTTP and gRPC front ends over one predictor core."""

import sys
from pathlib import Path

VERSION = "0.1.0"
STARTED_IN = "BULKHEAD_STARTED_IN"  # the variable by which the supervisor tells its worker where it was started


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


_keep_bundle_unchanged()
