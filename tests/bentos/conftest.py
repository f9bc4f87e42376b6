"""Fixtures over one real bundle, given by BULKHEAD_TEST_BUNDLE: its core in this process, and a `bentoml serve` of it."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bentos.core import Core
from bentos.protocols.http.app import HttpApp
from contract.bundle import manifest
from contract.schema.schema import FeatureSchema, Field
from tests.bentos.caller import Caller
from tests.bentos.http.http_server import FrontDoor, front_door
from tests.bentos.running import Server, start_server

VARIABLE = "BULKHEAD_TEST_BUNDLE"


@dataclass(frozen=True)
class Case:
    """What the tests know about the bundle's model, read from its files."""

    bundle: Path
    version: str
    schema: FeatureSchema
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]

    @property
    def row(self) -> dict[str, Any]:
        """A complete row, to be spoiled."""
        return dict(self.rows[0])

    def field(self, *, kind: str, required: bool | None = None, bounded: bool = False) -> Field:
        """A field of that sort; skips the test where the model has none."""
        for field in self.schema.fields:
            if field.kind == kind and required in (None, field.required) and (not bounded or field.maximum is not None):
                return field
        pytest.skip(f"the model has no such {kind}")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"{VARIABLE} is not set; `make test` sets it to a bundle that the pipeline built")
    target = tmp_path_factory.mktemp("bundle") / "bundle"
    shutil.copytree(given, target)
    return target


@pytest.fixture(scope="session")
def case(bundle: Path) -> Case:
    artifact = bundle / manifest.ARTIFACT
    golden = json.loads((artifact / "golden.json").read_bytes())
    return Case(
        bundle,
        manifest.digest_of(bundle),
        FeatureSchema.from_bytes((artifact / "schema.json").read_bytes()),
        [entry["row"] for entry in golden],
        [entry["answer"] for entry in golden],
    )


@pytest.fixture(scope="session")
def loaded_core(bundle: Path) -> Core:
    return Core.load(bundle)


@pytest.fixture
def core(loaded_core: Core) -> Core:
    loaded_core.ready = True
    return loaded_core


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nothing refers to is freed: circles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def http(core: Core) -> Caller:
    """The HTTP application, called without a server."""
    return Caller(HttpApp(core))


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server(bundle, tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def door(loaded_core: Core) -> Iterator[FrontDoor]:
    """The HTTP front end over a socket, in this process; tests of gRPC have another one."""
    loaded_core.ready = True
    with front_door(loaded_core) as running:
        yield running


@pytest.fixture
def body(case: Case) -> bytes:
    """A request of one golden row for /predict."""
    return json.dumps({"rows": case.rows[:1]}).encode()
