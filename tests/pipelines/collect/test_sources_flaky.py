"""Sources over a bad network: a file that was truncated never becomes a partition, and a retry gives the bytes of a good network."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import UnavailableError
from harness import object_stores
from pipelines import paths
from tests.faults import flaky
from tests.pipelines.collect.collecting import ROWS, collect, write_csv

NAMES = ["d.csv", "d.csv.gz", "d.parquet"]


@pytest.fixture
def port(workspace: Path) -> Iterator[int]:
    """Of a server that has the deliveries in every form."""
    write_csv(ROWS, "d.csv")
    Path("d.csv.gz").write_bytes(gzip.compress(Path("d.csv").read_bytes()))
    ROWS.write_parquet("d.parquet")
    with object_stores.files(workspace) as number:
        yield number


def _kept(name: str) -> int:
    """So many bytes of a file that February is gone; of a CSV file, that only whole lines are left."""
    if name == "d.csv":
        return Path(name).read_bytes().index(b"\n2024-02-02") + 1
    return Path(name).stat().st_size * 2 // 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_reset", [False, True], ids=["ended", "reset"])
def test_file_that_is_cut_on_its_way_is_no_partition(port: int, raw: dict[str, Any], name: str, is_reset: bool) -> None:
    expected = collect(raw, path=name)
    paths.partition("2024-01").unlink()
    faults = iter([flaky.Fault(_kept(name), is_reset)])
    with flaky.relay(port, lambda: next(faults, None)) as relayed:
        url = f"http://127.0.0.1:{relayed}/{name}"
        with pytest.raises(UnavailableError, match="the transfer broke off"):
            collect(raw, path=url)
        assert not paths.partition("2024-01").exists()
        assert collect(raw, path=url) == expected


@pytest.mark.parametrize("name", NAMES)
def test_retries_give_the_bytes_of_a_good_network(port: int, raw: dict[str, Any], name: str) -> None:
    expected = collect(raw, path=name)
    dice, failed = flaky.Dice(seed=8, longest=Path(name).stat().st_size), 0
    with flaky.relay(port, dice) as relayed:
        for _ in range(30):
            paths.partition("2024-01").unlink(missing_ok=True)
            try:
                assert collect(raw, path=f"http://127.0.0.1:{relayed}/{name}") == expected
            except UnavailableError:
                failed += 1
                assert not paths.partition("2024-01").exists()
    assert 0 < failed < min(dice.thrown, 30)  # aiohttp asks once more where no answer has begun


@pytest.mark.parametrize("name", NAMES)
def test_object_store_is_asked_again_by_its_library(
    port: int, raw: dict[str, Any], name: str, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = collect(raw, path=name)
    for key, value in s3.items():
        monkeypatch.setenv(key, value)
    _upload(name)
    dice = flaky.Dice(seed=8, longest=Path(name).stat().st_size)
    with flaky.relay(int(s3["AWS_ENDPOINT_URL"].rpartition(":")[2]), dice) as relayed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relayed}")
        for _ in range(5):
            assert collect(raw, path=f"s3://flaky/*/{name}") == expected
    assert dice.thrown > 0


def _upload(name: str) -> None:
    import fsspec

    system = fsspec.filesystem("s3", skip_instance_cache=True)
    system.mkdirs("flaky", exist_ok=True)
    system.put_file(name, f"flaky/2024/{name}")
