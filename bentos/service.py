"""The BentoML service that `bentoml serve` and `bentoml build` import: it checks the bundle and has BentoML start our own worker.

A worker imports nothing from here, and this module nothing of a worker's: the supervisor of `bentoml serve` is 40 MB smaller without a
model runtime, and a worker 60 MB smaller without BentoML.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import threading
from pathlib import Path
from typing import NoReturn

import bentoml
import click

from bentos import LOADED, LOADING, STARTED_IN, TELL_ON
from bentos.monitoring import tracing
from bentos.protocols.connections import addresses, tls
from contract import api_keys, command_line, cors
from contract.bundle import manifest
from contract.errors import BundleError, ConfigurationError
from contract.prediction_log import settings as log_settings

BUNDLE = Path(__file__).resolve().parents[2]
SOURCES = BUNDLE / "src"
WORKER = "bentos.worker"


def check_bundle() -> None:
    """Raise BundleError unless this code lies in a bundle; called before `bentoml serve` starts a worker."""
    if not (BUNDLE / manifest.FILE_NAME).is_file():
        raise BundleError(
            f"{BUNDLE} has no {manifest.FILE_NAME}: this service runs only inside a built bundle. "
            "Build one with `dvc repro`, then run `bentoml serve` on its directory"
        )


def _check_settings() -> None:
    """End the supervisor with a message if a setting is invalid: addresses, TLS, API keys, prediction log, CORS or traces."""
    if code := command_line.run(_read_settings, stopped="this bundle cannot be served"):
        raise SystemExit(code)


def _read_settings() -> int:
    context = click.get_current_context(silent=True)
    addresses.admin(os.environ)
    addresses.grpc(os.environ, "")
    tls.context(context.params if context else {}, "h2")
    if keys := api_keys.file_named(os.environ):
        api_keys.read(keys)
    log_settings.read(os.environ)
    cors.read(os.environ)
    tracing.sampling(os.environ)
    return 0


def _end_with_worker() -> None:
    """Have the supervisor end with its worker's exit code if that cannot load the bundle; it would restart the worker for ever.

    The worker reports the loading on a pipe. If it ends without a report, by a signal for example, the next worker's start reveals it.
    """
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    os.environ[TELL_ON] = str(writing)
    threading.Thread(target=_heed, args=(reading,), name="worker", daemon=True).start()


def _heed(reading: int) -> None:
    is_loading = False
    while said := os.read(reading, 1):
        if said == LOADED:
            is_loading = False
        elif said != LOADING:
            return _end(said[0])
        elif is_loading:
            command_line.tell("this bundle cannot be served: its worker crashed while loading it")
            return _end(1)
        else:
            is_loading = True
    return None


def _end(code: int) -> None:
    """Stop the supervisor as SIGTERM does, and have it exit with the code."""
    atexit.register(command_line.end, code)
    os.kill(os.getpid(), signal.SIGTERM)


def _start_our_worker() -> None:
    """Have the supervisor start `bentos.worker`, which takes the same options, in place of BentoML's worker.

    BentoML has no setting for that, only this variable. If a later BentoML no longer reads it, `to_asgi` fails with a message.
    """
    from _bentoml_impl.server import serving

    serving._SERVICE_WORKER_SCRIPT = WORKER
    # BentoML starts a worker in the bundle's directory, but relative paths refer to the directory where the command was typed.
    os.environ[STARTED_IN] = str(Path.cwd())
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # else numpy starts an unused thread for each core
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SOURCES), os.environ.get("PYTHONPATH"))))


class Service(bentoml.Service):  # type: ignore[misc]  # bentoml is not typed
    """A BentoML service whose worker is ours."""

    def to_asgi(self, is_main: bool = True) -> NoReturn:  # noqa: ARG002
        """Raise ConfigurationError: only BentoML's own worker calls this, and it must never serve in place of ours."""
        raise ConfigurationError(
            f"BentoML {bentoml.__version__} does not start {WORKER}: serve with the packages of the bundle's {SOURCES / 'requirements.txt'}"
        )


@bentoml.service(name="predictor", service_class=Service, workers=1)
class Predictor:
    """The service's entry for BentoML; `bentos.worker` gives the predictions."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def prepare() -> None:
        """Check bundle and settings; BentoML calls this in the supervisor before it starts a worker."""
        gc.freeze()  # else the collector would look at all that is imported as soon as it is on
        gc.enable()  # a serving environment turns it off for the start (`contract.environment.pruning`)
        check_bundle()
        _check_settings()
        _end_with_worker()
        _start_our_worker()
