"""`python -m fleet.monitoring.page ROOT PORT`: serve the status page, and keep the ledger of costs.

One of supervisord's programs. It holds no lock and changes nothing of the fleet. Three threads meet in two values: one reads counters every
five seconds, for the traffic and the ledger; one looks at the fleet while somebody reads the page; the server answers from what they
found last. A part of the fleet that hangs delays a thread, never an answer, which says how old it is.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError
from fleet.configuration.state import socket_of
from fleet.monitoring import exporter, observer
from fleet.monitoring.observer import Observer
from fleet.monitoring.page.program import NAME, kept_settings
from fleet.monitoring.page.server import Answer, Answers, Server, UnixServer, files

_MEASURE_S = 5.0
_LOOK_S = 1.0
# For so long after the last request the fleet is looked at; a page asks every two seconds.
_WATCHED_S = 10.0
_STUCK_S = 60.0
_FIRST_S = 1.0
_SCRAPE_S = 5.0
_OLD_S = 15.0
_RETRY_S = 5.0


class Monitor:
    """What the threads share: the newest snapshot, and who asked for one when."""

    def __init__(self, watched: Observer) -> None:
        self._observer = watched
        self._snapshot: dict[str, Any] = {"at": None}
        self._asked_at = 0.0
        self._measured_at = time.monotonic()
        self._asked, self._found = threading.Event(), threading.Event()
        self.stop = threading.Event()

    def measure(self) -> None:
        """Take a reading every five seconds; write the ledger when it is due and at the end."""
        while not self.stop.is_set():
            try:
                self._observer.measure()
                if self._observer.ledger.is_due:
                    self._observer.ledger.write()
                else:
                    self._observer.ledger.keep()
            # Whatever a round meets, such as a state that is no JSON, the next one may not: no gap in the ledger for it.
            except Exception:  # noqa: BLE001
                traceback.print_exc()
            self._measured_at = time.monotonic()
            self.stop.wait(_MEASURE_S)
        self._observer.ledger.write()

    def look(self) -> None:
        """Look at the fleet every second while somebody watches."""
        while not self.stop.is_set():
            self._asked.wait()
            if time.monotonic() - self._asked_at > _WATCHED_S:
                self._snapshot = {"at": None}  # not an old one for whoever comes back
                self._found.clear()
                self._asked.clear()
                continue
            try:
                self._snapshot = self._observer.look()
            except (BulkheadError, OSError) as error:
                self._snapshot = observer.failure(error)
            self._found.set()
            self.stop.wait(_LOOK_S)

    def status(self) -> Answer:
        """Return the newest snapshot, with the present time beside its own; `at` is null while the first one takes its time."""
        self._ask(_FIRST_S)
        content = json.dumps({**self._snapshot, "now": time.time()}).encode()
        return 200, content, "application/json"

    def metrics(self) -> Answer:
        """Return the fleet's metrics, or 503 where there is no new snapshot: an old one would hide what happens now."""
        self._ask(_SCRAPE_S)
        found = self._snapshot
        if found["at"] is None or time.time() - found["at"] > _OLD_S:
            return 503, b"the fleet cannot be looked at now\n", "text/plain; charset=utf-8"
        return 200, exporter.page(found).encode(), exporter.TYPE

    def _ask(self, limit_s: float) -> None:
        """Have the fleet looked at, and wait for the first snapshot if there is none."""
        self._asked_at = time.monotonic()
        self._asked.set()
        self._found.wait(limit_s)

    def livez(self) -> Answer:
        """Answer 503 if the counters have not been read for a minute: then supervisord is to start this program anew."""
        stuck = time.monotonic() - self._measured_at > _STUCK_S
        return 503 if stuck else 200, b"\n", "text/plain; charset=utf-8"


def main(root: Path, port: int) -> None:
    """Serve until SIGTERM."""
    monitor = Monitor(Observer(kept_settings(root)))
    answers: Answers = {**files(), "/status.json": monitor.status, "/metrics": monitor.metrics, "/livez": monitor.livez}
    measuring = threading.Thread(target=monitor.measure)
    measuring.start()
    _in_background(monitor.look)
    _in_background(UnixServer(answers, Path(socket_of("http", NAME, root))).serve_forever)
    signal.signal(signal.SIGTERM, lambda *_: monitor.stop.set())
    if port:
        _in_background(lambda: _serve(answers, port))
    monitor.stop.wait()
    measuring.join()


def _serve(answers: Answers, port: int) -> None:
    """Serve at the port; while another program has it, try again: the ledger goes on, and no deployment depends on a page."""
    said = False
    while True:
        try:
            server = Server(answers, port)
        except OSError as error:
            if not said:
                print(f"port {port} cannot be used ({error.strerror}): set another BULKHEAD_STATUS_PORT", flush=True)
            said = True
            time.sleep(_RETRY_S)
        else:
            print(f"serving on http://127.0.0.1:{port}", flush=True)
            server.serve_forever()


def _in_background(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
