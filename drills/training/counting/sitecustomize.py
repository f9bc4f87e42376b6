"""Imported by Python at its start, by its directory on PYTHONPATH: each round of boosting appends a byte to the file DRILL_ROUNDS.

When the file has DRILL_KILL_AT bytes, the process that has begun this round kills itself with signal 9.
"""

import os
import signal
import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

_MODULE = "xgboost.core"


class _Counting(MetaPathFinder):
    """Finds XGBoost's module of boosters as anybody does, and wraps the method that grows a round."""

    def find_spec(self, name, *_):  # type: ignore[no-untyped-def]
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_wrap(module):  # type: ignore[no-untyped-def]
            execute(module)
            update = module.Booster.update

            def counted(*arguments, **named):  # type: ignore[no-untyped-def]
                descriptor = os.open(os.environ["DRILL_ROUNDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(descriptor, b".")
                begun = os.fstat(descriptor).st_size
                os.close(descriptor)
                if begun == int(os.environ.get("DRILL_KILL_AT", "0")):
                    os.kill(os.getpid(), signal.SIGKILL)
                return update(*arguments, **named)

            module.Booster.update = counted

        spec.loader.exec_module = execute_and_wrap
        return spec


sys.meta_path.insert(0, _Counting())
