from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import slice as sliced


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `dvc repro` has run on two real months."""
    directory = tmp_path_factory.mktemp("project")
    sliced.prepared(directory)
    return directory


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the slice, unsigned."""
    if given := os.environ.get("BULKHEAD_TEST_BUNDLE"):
        return Path(given)
    directory = tmp_path_factory.mktemp("project")
    sliced.prepared(directory)
    return directory / "build" / "bundle"
