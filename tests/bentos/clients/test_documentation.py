"""The servers and the answer of the pages work as they stand there, but for the ports; the clients': test_clients.py."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from contract.bundle import manifest
from docs import code_blocks
from harness import PROJECT
from tests.bentos.caller import Caller
from tests.bentos.certificates import Authority
from tests.bentos.conftest import Case
from tests.bentos.running import start_server

PIPELINE = PROJECT / ".venv" / "pipeline" / "bin"
SERVERS = [
    block for page in ("docs/how-to/server.md", "docs/how-to/monitoring.md") for block in code_blocks.blocks(page, "sh")
    if "bentoml serve" in block.text
]  # fmt: skip


def _place(bundle: Path, directory: Path) -> None:
    """What the commands find where they are run: a bundle, an environment, and files for TLS."""
    shutil.copytree(bundle, directory / "build" / "bundle")
    (directory / ".venv").mkdir()
    (directory / ".venv" / "serving").symlink_to(sys.prefix)
    authority = Authority(directory, "authority")
    files = zip(("callers.pem", "server.pem", "server.key"), (authority.path, *authority.issue("server")), strict=True)
    for name, source in files:
        (directory / name).symlink_to(source)
    for name, source in zip(("caller.pem", "caller.key"), authority.issue("caller"), strict=True):
        (directory / name).symlink_to(source)


def _context(directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=directory / "callers.pem")
    context.load_cert_chain(directory / "caller.pem", directory / "caller.key")
    return context


@pytest.mark.parametrize("block", SERVERS, ids=lambda block: f"{block.page}:{block.line}")
def test_documented_command_starts_a_server(
    block: code_blocks.Block, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _place(bundle, tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin")
    text = re.sub(r"(\S*bentoml serve)", r"exec \1", block.text).replace("/var/log", str(tmp_path / "log"))
    context = _context(tmp_path) if "--ssl" in text else None
    server = start_server(bundle, tmp_path, ["bash", "-ec", text], context)
    assert server.stop() == 0


def test_documented_command_reads_the_prediction_log(tmp_path: Path) -> None:
    if not PIPELINE.exists():
        pytest.skip(f"{PIPELINE} is not there")
    text = code_blocks.block("docs/how-to/monitoring.md", "pipelines predictions")
    (tmp_path / "predictions").mkdir()
    subprocess.run(
        ["bash", "-ec", text.replace("/var/log", str(tmp_path)).replace("data/", f"{tmp_path}/data/")],
        cwd=PROJECT,
        env={"PATH": f"{PIPELINE}:/usr/bin:/bin"},
        check=True,
    )


def test_documented_answer_has_the_members_of_a_real_one(http: Caller, case: Case) -> None:
    if json.loads((case.bundle / manifest.FILE_NAME).read_bytes())["name"] != "flights":
        pytest.skip("the page is about flights")
    request = code_blocks.block("docs/how-to/server.md", "curl")
    (body,) = re.findall(r"-d '(.*)'", request, re.DOTALL)
    answer = http.predict(json.loads(body)["rows"]).json
    documented = json.loads(code_blocks.block("docs/reference/http.md", '"predictions"', "json"))
    assert answer["model"] == {"name": "flights", "version": case.version}
    assert documented.keys() == answer.keys()
    assert documented["predictions"][0].keys() == answer["predictions"][0].keys()
    assert documented["predictions"][0]["fallbacks"][0] in answer["predictions"][0]["fallbacks"]
