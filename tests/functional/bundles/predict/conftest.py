from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness import slice as sliced
from tests.functional.bundles.predict import signing


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the slice, unsigned."""
    if given := os.environ.get("BULKHEAD_TEST_BUNDLE"):
        return Path(given)
    directory = tmp_path_factory.mktemp("project")
    sliced.prepared(directory)
    return directory / "build" / "bundle"


@pytest.fixture(scope="session")
def signed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the slice's `bundle`, signed, and `key.pem`."""
    directory = tmp_path_factory.mktemp("signed")
    shutil.copytree(template, directory / "bundle")
    signing.sign(directory / "bundle", directory / "key.pem")
    return directory
