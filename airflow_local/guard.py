"""`python -m airflow_local.guard`: a program of supervisord's that ends all of Airflow once supervisord has ended, however it did.

Airflow's components run on without their parent, and tasks lie in sessions of their own. Were supervisord killed, nobody would end them.
supervisord restarts this process when it is killed itself.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from airflow_local.site import HOME, STOP_LIMIT_S
from fleet.supervisor import processes

PID_FILE = HOME / "supervisord.pid"


def main(supervisord: int) -> None:
    """Wait for the end of supervisord, then end all processes that it has left."""
    signal.signal(signal.SIGTERM, _leave_a_child)
    with suppress(ProcessLookupError):  # it has ended already
        select.select([os.pidfd_open(supervisord)], [], [])
    processes.end({processes.FLEET_MARK: str(HOME)}, patience_s=STOP_LIMIT_S)


def _leave_a_child(*_: object) -> None:
    """Go on in a child: supervisord, on its way to its own end, waits for that of this process."""
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()


if __name__ == "__main__":
    main(int(PID_FILE.read_text()))
