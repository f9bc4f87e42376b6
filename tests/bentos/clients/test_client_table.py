"""Clients of other languages, proxies and load tools get from a real server what docs/reference/clients-tried.md says."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from tests.bentos.conftest import Case
from tests.bentos.running import Server as Running
from tests.clients.loads import LOADS, Load, answered
from tests.clients.outcome import Server, outcome_of
from tests.clients.registry import CLIENTS, Client, MissingError
from tests.clients.requests import Requests, write_requests
from tests.clients.table import MOMENT, read_rows


@pytest.fixture(scope="module")
def requests(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Requests:
    return write_requests(case.bundle, tmp_path_factory.mktemp("requests"))


@pytest.mark.parametrize("asking", [*CLIENTS, *LOADS], ids=lambda asking: asking.name)
def test_client_or_load_tool_gets_what_the_table_says(
    asking: Client | Load, server: Running, requests: Requests, tmp_path: Path
) -> None:
    given = Server(server.http, server.grpc), requests, tmp_path
    try:
        found = answered(asking, *given) if isinstance(asking, Load) else astuple(outcome_of(asking, *given))
    except MissingError as missing:
        pytest.skip(str(missing))
    assert [asking.protocol, *found] == read_rows()[asking.name][MOMENT:]


def test_every_client_has_a_row_in_the_table() -> None:
    heads = {"client", "tool"}
    assert set(read_rows()) - heads == {asked.name for asked in (*CLIENTS, *LOADS)}
