"""What a training says of its rounds: a curve of the same bytes, a bar on a terminal, few lines in a log."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pipelines import paths
from pipelines.models import progress
from pipelines.models.rounds import Round
from pipelines.params.params import Params
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as train
from pipelines.stages.train.curve import FILE, Curve
from tests.pipelines.conftest import write_months


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, rounds: int) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    with progress.shown() as watch:
        for number in range(1, rounds + 1):
            watch(Round("rounds by validation", number, 400, 1 / number))
        for number in range(1, 4):
            watch(Round("training on all rows", number, 3))
    return stream.getvalue()


def test_log_gets_a_line_at_every_tenth_of_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _shown(monkeypatch, io.StringIO(), 130).splitlines()
    assert said[:3] == [
        f"rounds by validation: round {number} of at most 400, validation loss {1 / number:.5f}"
        for number in (40, 80, 120)
    ]
    assert said[3:] == [f"training on all rows: round {number} of at most 3" for number in (1, 2, 3)]


def test_training_goes_on_when_its_log_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with progress.shown() as watch:
        assert watch(Round("training on all rows", 3, 3)) is None


def test_training_goes_on_when_the_disk_under_its_log_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stderr", full)
        with progress.shown() as watch:
            watch(Round("training on all rows", 3, 3))
        assert os.path.samestat(os.fstat(full.fileno()), Path(os.devnull).stat())  # what follows is dropped


def test_terminal_gets_a_bar_with_rounds_time_left_and_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _shown(monkeypatch, Terminal(), 130)
    assert "rounds by validation:" in said
    assert "130/400 [" in said
    assert "validation loss 0.00769" in said
    assert "training on all rows: 100%" in said
    assert "3/3 [" in said
    assert "\n" in said  # the bar of the first training stays, above that of the second


def test_curve_has_the_same_bytes_when_a_training_tells_its_rounds_again(workspace: Path) -> None:
    whole, resumed = workspace / "whole", workspace / "resumed"
    curve, killed = Curve(whole), Curve(resumed)
    for number in range(1, 8):
        curve(Round("", number, 9, 1 / number))
    for number in range(1, 5):
        killed(Round("", number, 9, 1 / number))
    again = Curve(resumed)
    for number in range(1, 8):
        again(Round("", number, 9, 1 / number))
    again(Round("the final fit", 1, 9))
    assert (resumed / FILE).read_text() == (whole / FILE).read_text()
    assert (whole / FILE).read_text().splitlines()[:3] == ["step\tvalidation_loss", "1\t1.0", "2\t0.5"]


def test_curve_has_no_rows_when_the_family_has_no_rounds(tmp_path: Path) -> None:
    Curve(tmp_path)
    assert (tmp_path / FILE).read_text() == "step\tvalidation_loss\n"


def test_stage_writes_every_round_up_to_early_stopping(
    workspace: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    write_months(workspace)
    features.run(params)
    train.run(params)
    first = (paths.CURVE / FILE).read_text()
    rounds = [int(line.split("\t")[0]) for line in first.splitlines()[1:]]
    assert rounds == list(range(1, len(rounds) + 1))
    assert "rounds by validation: round 6 of at most 60" in capsys.readouterr().err
    train.run(params)
    assert (paths.CURVE / FILE).read_text() == first
    assert {path.name for path in paths.CURVE.rglob("*") if path.is_file()} == {FILE.name}
