"""Buckets of every kind of object store, over real sockets, and bundle stores in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="buckets are for the training plane and the fleet")
from contract.bundle import signature
from contract.store.providers import Bucket
from contract.store.store import Store
from tests.contract.store.services import SERVICES, Service

KEY = signature.make_key()
PUBLIC = signature.public_key_of(KEY)


@pytest.fixture(scope="package", params=SERVICES)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with SERVICES[request.param]() as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield service


@pytest.fixture
def bucket(service: Service) -> Bucket:
    """An empty one."""
    bucket = Bucket(service.location)
    for name in objects(bucket):
        bucket.delete(name)
    return bucket


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(bucket: Bucket, service: Service, cache: Path) -> Store:
    return Store(service.location, private_key=KEY, trusted=lambda: [PUBLIC], cache=cache)


@pytest.fixture
def unchecked(bucket: Bucket, service: Service, cache: Path) -> Store:
    """Of somebody who neither signs nor asks for signatures."""
    return Store(service.location, cache=cache)


def objects(bucket: Bucket) -> list[str]:
    return sorted(f"{folder}/{name}" for folder in ("bundles", "channels") for name in bucket.list(folder))


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
