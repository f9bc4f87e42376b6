"""docs/reference/clients-tried.md: the rows of all clients, read and written."""

from __future__ import annotations

from collections.abc import Iterable

from harness import PROJECT

Row = list[str]

PATH = PROJECT / "docs" / "reference" / "clients-tried.md"
MOMENT = 3  # a row's first cells, before what it gets: the name, and of the moment the version and the day
_ASKED = ["health check", "a row, twice", "a row that lacks a field", "a body beyond the limit", "connection"]
_CLIENTS = ["client", "version", "run on", "protocol", *_ASKED]
_LOADS = ["tool", "version", "run on", "protocol", "answered with 2xx", "rows predicted"]
_TEXT = """# Clients tried

Each client is asked, with its defaults, for the same five things at one real server: the health check, a row, the row again, a row
that lacks a required field, and a body of 40 MiB (over gRPC and `/v2` a message of 2 MiB) against a limit of 1 MiB. "The golden
answer" is equal to the bundle's own, to the bit; "names the field" and "names the limit" mean that the server's message reached the
caller. How to call, with deadlines and retries: [clients.md](../how-to/clients.md).

Made by `PYTHONPATH=.venv/test:. .venv/serving/bin/python -m tests.clients BUNDLE`; a client that is not installed keeps the row of its
last run. `make .venv/kserve/installed.txt` installs kserve, which `make test` leaves out for its size.
`tests/bentos/clients/test_client_table.py` runs those that are there, and fails where they get something else than stands here.

{clients}

nginx and HAProxy stand between the server and Python's http.client; HAProxy was found to take the server for healthy by its default
check, OPTIONS. `/predict` answers invalid rows with 422, `/v2` as its protocol has it with 400.

## Load tools

{loads}

The HTTP port speaks HTTP/1 alone: a client that begins with HTTP/2 unasked (*prior knowledge*) is turned away before any request, and
one that asks by `Upgrade` is answered over HTTP/1.1. h2load sees HTTP's statuses, not those of gRPC; the rows
predicted are what the server's metrics say.

Not run: perf_analyzer, whose Python package is an empty placeholder; what version 2.60 asks for is in
[clients.md](../how-to/clients.md#other-clients).
"""


def read_rows() -> dict[str, Row]:
    """Return the rows of both tables by name."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: row for row in rows}


def write_rows(clients: Iterable[Row], loads: Iterable[Row]) -> None:
    PATH.write_text(_TEXT.format(clients=_table(_CLIENTS, clients), loads=_table(_LOADS, loads)))


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
