"""A server of each kind of object store that a bundle store can lie in, with an empty bucket `models`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from docs import code_blocks
from harness import object_stores
from tests.contract.store import google_storage

_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")


@dataclass(frozen=True)
class Service:
    """A server, as the environments of its users describe it.

    Attributes:
        users: environment variables by user; `collector` may do everything.
        wrong: variables whose values are no credentials, by what is wrong.
        server: one that lies in this process, with what it stores.
    """

    location: str
    users: dict[str, dict[str, str]]
    wrong: dict[str, dict[str, str]]
    server: google_storage.Server | None = None

    @property
    def environment(self) -> dict[str, str]:
        return self.users["collector"]

    @property
    def port(self) -> int:
        return next(int(found[0]) for value in self.environment.values() if (found := _PORT.search(value)))

    def at(self, port: int) -> dict[str, str]:
        """The environment of somebody who takes another port for the server's."""
        return {name: _PORT.sub(str(port), value) for name, value in self.environment.items()}


@contextmanager
def _amazon() -> Iterator[Service]:
    with object_stores.s3_users(documented_policies()) as users:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        yield Service("s3://models/bulkhead", users, {name: {name: "wrong"} for name in names})


@contextmanager
def _azure() -> Iterator[Service]:
    executable = shutil.which("azurite-blob")
    if executable is None:
        pytest.skip("needs azurite-blob on the PATH: npm install -g azurite")
    with object_stores.azure(executable) as environment:
        ((name, account),) = environment.items()
        wrong = {text: {name: account.replace("Eby8", text)} for text in ("Eby9", "no base64")}
        yield Service("az://models/bulkhead", {"collector": environment}, wrong)


@contextmanager
def _google() -> Iterator[Service]:
    with google_storage.serving() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        environment = {"GOOGLE_BASE_URL": url, "GOOGLE_BEARER_TOKEN": google_storage.TOKEN}
        wrong = {"token": {"GOOGLE_BEARER_TOKEN": "wrong"}}
        yield Service("gs://models/bulkhead", {"collector": environment}, wrong, server)


SERVICES: dict[str, Callable[[], AbstractContextManager[Service]]] = {"s3": _amazon, "az": _azure, "gs": _google}


def documented_policies() -> dict[str, dict[str, Any]]:
    """Return the policies of docs/how-to/store.md, word for word."""
    policies = (json.loads(block.text) for block in code_blocks.blocks("docs/how-to/store.md", "json"))
    return dict(zip(("training", "fleet"), policies, strict=True))
