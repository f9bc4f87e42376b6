"""Twelve months that arrive one by one, some rows late and some twice, in another time zone, give the bytes of twelve months at once."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from drills.training import orders
from harness import slice as sliced
from tests.functional.commands import digests, run

MONTHS = [f"2026-{month:02}" for month in range(1, 13)]
ROWS = 300  # a month
PARAMS: dict[str, Any] = orders.PARAMS | {
    "data": orders.PARAMS["data"] | {"months": MONTHS},
    "validate": {"rows": [200, 400]},
    "train": {"seed": 1},
    "serving": {},
}
FAR_EAST, FAR_WEST = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # 14 hours before UTC and 11 behind
STAGES = "features"


def deliver(project: Path, name: str, rows: pl.DataFrame) -> None:
    rows.write_csv(project / "orders" / f"{name}.csv")


def month_of_orders(month: str) -> pl.DataFrame:
    """Orders of a month of UTC from its first to its last minutes, written with the offset of Berlin's summer: next month's date
    for the last ones."""
    first = datetime.strptime(month, "%Y-%m")
    minutes = pl.select(pl.lit(first).dt.month_end().dt.day()).item() * 1440
    draw = np.random.default_rng(first.month)
    after = np.linspace(5, minutes - 5, ROWS).astype(int)
    return pl.DataFrame(
        {
            "order": [f"{month}-{number:04}" for number in draw.permutation(ROWS)],
            "at": [(first + timedelta(hours=2, minutes=int(m))).isoformat() + "+02:00" for m in after],
            "depot": draw.choice(["north", "south"], ROWS),
            "weight": [None if draw.random() < 0.1 else round(draw.gamma(2, 3), 1) for _ in range(ROWS)],
            "outcome": draw.choice(["kept", "broken"], ROWS),
        }
    )


def repro(project: Path, zone: str, months: list[str], *arguments: str) -> None:
    params = PARAMS | {"data": PARAMS["data"] | {"months": months}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    done = run(project, "env", f"TZ={zone}", "dvc", "repro", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def empty_project(directory: Path) -> Path:
    sliced.copy_project(directory)
    (directory / "orders").mkdir()
    return directory


@pytest.fixture(scope="module")
def backfilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = empty_project(tmp_path_factory.mktemp("backfill"))
    for month in MONTHS:
        deliver(project, month, month_of_orders(month))
    repro(project, FAR_EAST, MONTHS, STAGES)
    return project


def test_months_are_those_of_utc(backfilled: Path) -> None:
    for month in MONTHS:
        partition = pl.read_parquet(backfilled / "data" / "partitions" / f"{month}.parquet")
        assert partition["order"].to_list() == sorted(month_of_orders(month)["order"])


def test_the_first_process_of_a_run_collects_every_month(backfilled: Path) -> None:
    (ahead,) = (backfilled / ".dvc/tmp/ahead").iterdir()
    assert sorted(path.name for path in ahead.iterdir()) == [
        f"{month}.txt" for month in MONTHS[1:]
    ]  # the tables were taken


def test_a_backfill_equals_months_that_came_one_by_one_late_and_twice(backfilled: Path, tmp_path: Path) -> None:
    live, wanted = empty_project(tmp_path / "live"), digests(backfilled)
    march, late = month_of_orders("2026-03"), pl.int_range(pl.len()) % 7 == 0
    for index, month in enumerate(MONTHS, start=1):
        deliver(live, month, march.filter(~late) if month == "2026-03" else month_of_orders(month))
        repro(live, FAR_WEST, MONTHS[:index], "collect")
    partial = digests(live)
    changed = {path for path in partial if partial[path] != wanted[path]}
    assert changed == {"data/partitions/2026-03.parquet"}

    deliver(live, "late", march.filter(late).sample(fraction=1, shuffle=True, seed=1))
    shutil.copyfile(live / "orders" / "2026-03.csv", live / "orders" / "again.csv")
    repro(live, FAR_WEST, MONTHS, "--force", "--single-item", "collect@2026-03", "collect@2026-04")
    repro(live, FAR_WEST, MONTHS, STAGES)
    assert digests(live) == wanted


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed: no clock can be set wrong")
@pytest.mark.parametrize("offset", ["-1y", "+1h", "+1y"])
def test_a_wrong_clock_changes_no_partition(backfilled: Path, offset: str) -> None:
    partition = backfilled / "data" / "partitions" / f"{MONTHS[0]}.parquet"
    before = partition.read_bytes()
    partition.unlink()
    done = run(backfilled, "faketime", "-f", offset, "python", "-m", "pipelines", "collect", MONTHS[0])
    assert done.returncode == 0, done.stderr
    assert partition.read_bytes() == before


def test_a_new_month_runs_one_collect(backfilled: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(backfilled, project, symlinks=True)
    thirteenth = month_of_orders("2026-12").with_columns(
        pl.col("order").str.replace("2026-12", "2027-01"), pl.col("at").str.replace("2026-12", "2027-01")
    )
    deliver(project, "2027-01", thirteenth.filter(pl.col("at") < "2027-01-31T20"))
    params = PARAMS | {"data": PARAMS["data"] | {"months": [*MONTHS, "2027-01"]}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    done = run(project, "dvc", "repro", "collect")
    assert done.returncode == 0, done.stderr
    assert re.findall("Running stage '(.*)'", done.stdout) == ["declare", "collect@2027-01"]
    assert set(digests(project).items()) - set(digests(backfilled).items()) == {
        ("data/partitions/2027-01.parquet", digests(project)["data/partitions/2027-01.parquet"])
    }


def test_a_month_that_was_collected_too_early_is_collected_anew_when_it_was_refused(tmp_path: Path) -> None:
    project = empty_project(tmp_path / "early")
    whole = [month_of_orders(month) for month in MONTHS[:2]]
    deliver(project, MONTHS[0], whole[0])
    deliver(project, MONTHS[1], whole[1].filter(pl.col("at") < "2026-02-20"))
    params = PARAMS | {"data": PARAMS["data"] | {"months": MONTHS[:2]}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    early = run(project, "dvc", "repro", "validate")
    assert early.returncode != 0
    assert not (project / "data" / "partitions" / "2026-02.parquet").exists()

    deliver(project, MONTHS[1], whole[1])
    done = run(project, "dvc", "repro", "validate")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'collect@2026-02':",
        "Running stage 'validate':",
    ]
    assert pl.read_parquet(project / "data" / "accepted" / "2026-02.parquet").height == ROWS


def test_a_refused_batch_is_replayed_as_it_was_and_not_collected_anew(tmp_path: Path) -> None:
    project = empty_project(tmp_path / "replayed")
    deliver(project, MONTHS[0], month_of_orders(MONTHS[0]))
    params = PARAMS | {"data": PARAMS["data"] | {"months": MONTHS[:1]}, "validate": {"rows": [400, 500]}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert run(project, "dvc", "repro", "validate").returncode != 0
    (project / "orders" / f"{MONTHS[0]}.csv").unlink()
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"validate": PARAMS["validate"]}))
    released = run(project, "python", "-m", "pipelines", "quarantine", "release", MONTHS[0])
    assert released.returncode == 0, released.stdout + released.stderr
    assert "Running stage 'collect" not in released.stdout
    assert pl.read_parquet(project / "data" / "accepted" / f"{MONTHS[0]}.parquet").height == ROWS


def test_a_month_that_was_taken_off_leaves_no_trace_in_what_validate_depends_on(
    backfilled: Path, tmp_path: Path
) -> None:
    project = tmp_path / "shortened"
    shutil.copytree(backfilled, project, symlinks=True)
    repro(project, FAR_EAST, MONTHS[:4], "validate")
    shutil.rmtree(project / "data")  # as in a fresh clone
    params = PARAMS | {"data": PARAMS["data"] | {"months": MONTHS[:4]}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    done = run(project, "dvc", "repro", "validate")
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout
