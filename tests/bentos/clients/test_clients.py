"""The examples of docs/how-to/clients.md work as they stand, but for the port: alone, before a server is there, in a crowd, with TLS."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.bundle import manifest
from docs import code_blocks
from harness import interpreter
from harness.ports import free_ports
from tests.bentos.certificates import Authority
from tests.bentos.clients.crowded_proxy import ENVOY, crowded_proxy
from tests.bentos.conftest import Case, Server
from tests.bentos.load.test_guards import start, wait

KEY = "k" * 32
CURL, HTTPX, TRITON_GRPC, TRITON_HTTP = "curl http", "httpx", "tritonclient.grpc", "tritonclient.http"
RETRYING = (CURL, HTTPX, TRITON_GRPC)
# What the probability looks like in the JSON of curl, the dict of httpx, the array of tritonclient.
PREDICTION = re.compile(r"(?:probability['\"]: ?|\[)0\.\d+")


@pytest.fixture(scope="module", autouse=True)
def _needed(case: Case) -> None:
    name = json.loads((case.bundle / manifest.FILE_NAME).read_bytes())["name"]
    if name != "flights":
        pytest.skip(f"the examples are about flights, the bundle is about {name}")
    if not interpreter("client").exists():
        pytest.skip(f"{interpreter('client')} is not there; `make .venv/client/installed.txt` makes it")


def example(client: str, http: str, grpc: str, *, tls: bool = False) -> str:
    """The block of that client, spoken to a server; with TLS, its client is made as the section on TLS says."""
    text, *others = (block.text for block in code_blocks.blocks("docs/how-to/clients.md") if client in block.text)
    if tls:
        instead = others[-1]
        made = r"^client = (?:.+\)|.+\(\n(?:    .*\n)+\))\n"
        text = instead if client == CURL else re.sub(made, lambda _: instead, text, count=1, flags=re.MULTILINE)
    return text.replace("localhost:3000", http).replace("localhost:3001", grpc)


def begin(client: str, text: str, directory: Path, **variables: str) -> subprocess.Popen[str]:
    """Runs an example in a directory, where its stderr is kept."""
    command = ["bash", "-c"] if client == CURL else [str(interpreter("client")), "-c"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with (directory / "stderr").open("w") as stderr:
        return subprocess.Popen(
            [*command, text],
            cwd=directory,
            env=kept | {"KEY": KEY} | variables,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def finish(process: subprocess.Popen[str], directory: Path) -> str:
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, (directory / "stderr").read_text()
    return printed


def ports_of(server: Server) -> tuple[int, int]:
    return int(server.http.rpartition(":")[2]), int(server.grpc.rpartition(":")[2])


@pytest.mark.parametrize("client", [CURL, HTTPX, TRITON_GRPC, TRITON_HTTP])
def test_example_gives_a_prediction(client: str, server: Server, tmp_path: Path) -> None:
    text = example(client, server.http, server.grpc)
    assert PREDICTION.search(finish(begin(client, text, tmp_path), tmp_path))


@pytest.mark.parametrize("client", RETRYING)
def test_example_asks_again_when_the_connection_is_refused(client: str, server: Server, tmp_path: Path) -> None:
    _skip_without_envoy()
    http, grpc = free_ports(2)
    text = example(client, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    if client == HTTPX:
        text = f"import logging; logging.basicConfig(level=logging.DEBUG)\n{text}"
    trace = {"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "connectivity_state"}
    process = begin(client, text, tmp_path, **trace)
    _wait_until_refused(process, tmp_path / "stderr")
    with crowded_proxy(tmp_path, (http, grpc), ports_of(server), refill_s=1, retry_after_s=1):
        assert PREDICTION.search(finish(process, tmp_path))


def _wait_until_refused(process: subprocess.Popen[str], stderr: Path) -> None:
    deadline = time.monotonic() + 30
    while "refused" not in stderr.read_text():
        assert process.poll() is None, stderr.read_text()
        assert time.monotonic() < deadline, stderr.read_text()
        time.sleep(0.02)


@pytest.mark.parametrize("client", RETRYING)
def test_example_asks_again_when_it_is_refused_for_the_moment(client: str, server: Server, tmp_path: Path) -> None:
    printed, answers = _three_in_a_crowd(client, server, tmp_path, refill_s=1.9, retry_after_s=2)
    assert len(PREDICTION.findall(printed)) == 3
    refused = [answer for answer in answers if answer not in ("200/-", "200/OK")]
    assert refused
    assert len(answers) - len(refused) == 3


def test_httpx_example_gives_up_at_once_when_it_would_have_to_wait_too_long(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="503 Service Unavailable"):
        _three_in_a_crowd(HTTPX, server, tmp_path, refill_s=3600, retry_after_s=3600)
    assert (tmp_path / "answers.log").read_text().split() == ["200/-", "503/-"]


def _three_in_a_crowd(
    client: str, server: Server, directory: Path, *, refill_s: float, retry_after_s: int
) -> tuple[str, list[str]]:
    """What the example prints when it is run three times on end, and the answers it got."""
    _skip_without_envoy()
    http, grpc = free_ports(2)
    text = example(client, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}") * 3
    with crowded_proxy(
        directory, (http, grpc), ports_of(server), refill_s=refill_s, retry_after_s=retry_after_s
    ) as log:
        printed = finish(begin(client, text, directory), directory)
    return printed, log.read_text().split()


def _skip_without_envoy() -> None:
    if not ENVOY.exists():
        pytest.skip(f"{ENVOY} is not there; `make .venv/fleet/installed.txt` makes it")


@pytest.fixture(scope="module")
def guarded(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server that asks for a key and for a certificate, and a directory with the files that a caller needs."""
    directory = tmp_path_factory.mktemp("guarded")
    authority = Authority(directory, "authority")
    certificate, key = authority.issue("server")
    for source, name in zip(
        (authority.path, *authority.issue("caller")), ("ca.pem", "caller.pem", "caller.key"), strict=True
    ):
        (directory / name).symlink_to(source)
    (directory / "keys").write_text(f"{KEY}\n")
    options = (
        "--ssl-certfile",
        certificate,
        "--ssl-keyfile",
        key,
        "--ssl-ca-certs",
        authority.path,
        "--ssl-cert-reqs",
        "2",
    )
    server = start(bundle, directory, *options, BULKHEAD_API_KEYS_FILE=str(directory / "keys"))
    context = _caller_context(directory)
    wait(server, f"https://{server.http}", context)
    yield server, directory
    server.stop()


def _caller_context(directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    context.load_cert_chain(directory / "caller.pem", directory / "caller.key")
    return context


@pytest.mark.parametrize("client", [CURL, HTTPX, TRITON_GRPC, TRITON_HTTP])
def test_example_with_tls_gives_an_answer(client: str, guarded: tuple[Server, Path]) -> None:
    server, directory = guarded
    printed = finish(begin(client, example(client, server.http, server.grpc, tls=True), directory), directory)
    assert '"inputs"' in printed if client == CURL else PREDICTION.search(printed)


@pytest.mark.parametrize("client", [HTTPX, TRITON_GRPC, TRITON_HTTP])
def test_example_with_tls_is_refused_when_its_key_is_wrong(client: str, guarded: tuple[Server, Path]) -> None:
    server, directory = guarded
    process = begin(client, example(client, server.http, server.grpc, tls=True), directory, KEY="w" * 32)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert re.search(r"401 Unauthorized|UNAUTHENTICATED|no valid API key", (directory / "stderr").read_text())
