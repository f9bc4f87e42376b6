from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.functional.bundles.predict import signing


@pytest.fixture(scope="session")
def signed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the slice's `bundle`, signed, and `key.pem`."""
    directory = tmp_path_factory.mktemp("signed")
    shutil.copytree(template, directory / "bundle")
    signing.sign(directory / "bundle", directory / "key.pem")
    return directory
