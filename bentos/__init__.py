"""What runs inside a bundle: HTTP and gRPC front ends over one predictor core."""

import sys
from pathlib import Path

VERSION = "0.1.0"
STARTED_IN = "BULKHEAD_STARTED_IN"  # the variable by which the supervisor tells its worker where it was started


def _keep_bundle_unchanged() -> None:
    """A bundle is named by the digest over all its files, so Python must not leave bytecode in it.

    Python has written the bytecode of this very module before it runs the module; that file is taken away again.
    """
    if not (Path(__file__).parents[2] / "manifest.json").is_file():
        return
    sys.dont_write_bytecode = True
    cache = Path(__file__).parent / "__pycache__"
    try:
        (cache / f"__init__.{sys.implementation.cache_tag}.pyc").unlink(missing_ok=True)
        cache.rmdir()
    except OSError:
        pass  # read-only, or not there: then nothing was written either


_keep_bundle_unchanged()
