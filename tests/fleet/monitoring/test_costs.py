"""The ledger's arithmetic, with numbers that can be checked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from fleet.monitoring.costs import ledger, prices, report
from fleet.monitoring.costs.ledger import Ledger, Mark, Use
from fleet.monitoring.costs.prices import Prices, Training
from fleet.monitoring.readings.metrics import Counters
from fleet.monitoring.readings.reading import Reading
from fleet.monitoring.readings.usage import Process, spent

GB = 1_000_000_000
NOON = 1_795_953_600.0  # 2026-11-29T12:00:00Z
SUPERVISORD = Process("", "1-0", 1.0, 0, 100.0)


def fleet(replica_cpu_s: float, **others: Process) -> dict[str, Process]:
    return {
        "10-1": SUPERVISORD,
        "11-1": Process("aaaaaaaa-0", "10-1", replica_cpu_s, GB // 10, 100.0),
        "12-1": Process("envoy-0-0", "10-1", 4.0, GB // 20, 100.0),
        **others,
    }


def mark(uptime_s: float, processes: dict[str, Process], rows: dict[str, int], boot: str = "b") -> Mark:
    return Mark(NOON + uptime_s - 1000, uptime_s, boot, processes, rows)


def reading(uptime_s: float, processes: dict[str, Process], rows: dict[str, int], at: float | None = None) -> Reading:
    replicas = {name: Counters(rows=count) for name, count in rows.items()}
    return Reading(NOON + uptime_s - 1000 if at is None else at, uptime_s, "b", processes, replicas)


def test_use_between_two_marks_counts_every_process_and_the_rows() -> None:
    before = mark(1000, fleet(2.0), {"11-1": 32})
    after = mark(1060, fleet(5.0), {"11-1": 1032})
    used = ledger.used(before, after)
    assert used.predictions == 1000
    assert used.replica_s == 60
    assert used.cpu_s == {"control": 0.0, "replicas": 3.0, "envoy": 0.0}
    assert used.gb_s == pytest.approx(0.15 * 60)
    assert (used.seconds, used.idle_s, used.idle_cpu_s) == (60, 0, 0)


def test_time_without_a_row_is_idle_and_costs_all_the_same() -> None:
    before, after = mark(1000, fleet(2.0), {"11-1": 32}), mark(1060, fleet(2.3), {"11-1": 32})
    used = ledger.used(before, after)
    assert used.predictions == 0
    assert (used.idle_s, used.idle_cpu_s) == (60, pytest.approx(0.3))
    assert used.idle_gb_s == used.gb_s == pytest.approx(9.0)


def test_golden_answers_of_a_new_replica_are_no_predictions_and_its_time_counts_from_its_start() -> None:
    new = {"13-2": Process("bbbbbbbb-0", "10-1", 0.5, GB // 10, 1040.0)}
    before = mark(1000, fleet(2.0), {"11-1": 32})
    after = mark(1060, fleet(2.0, **new), {"11-1": 42, "13-2": 32})
    used = ledger.used(before, after)
    assert used.predictions == 10
    assert used.replica_s == 60 + 20
    assert used.cpu_s["replicas"] == 0.5


def test_replica_that_was_killed_counts_from_its_new_process_on() -> None:
    restarted = {**fleet(0.0)}
    restarted["14-5"] = replace(restarted.pop("11-1"), cpu_s=0.2, started_s=1030.0)
    # supervisord has waited for the killed one, and has its 6 seconds now; 2 of them were counted before.
    restarted["10-1"] = replace(SUPERVISORD, cpu_s=1.0 + 6.0)
    before, after = mark(1000, fleet(2.0), {"11-1": 5000}), mark(1060, restarted, {"14-5": 300})
    used = ledger.used(before, after)
    assert used.predictions == 0
    assert used.replica_s == 30
    assert used.total_cpu_s == pytest.approx(4.0 + 0.2)
    assert ledger.used(after, mark(1065, restarted, {"14-5": 450})).predictions == 150


def test_later_replica_of_the_same_name_does_not_count_its_golden_answers(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    kept.add(reading(1000, fleet(2.0), {"aaaaaaaa-0": 5000}))
    later = fleet(2.0)
    later["15-7"] = replace(later.pop("11-1"), started_s=1004.0)
    kept.add(reading(1005, later, {"aaaaaaaa-0": 32}))
    assert kept.days()["2026-11-29"].predictions == 0


def test_processor_time_of_a_process_that_lost_its_parent_is_not_taken_off() -> None:
    before = {"10-1": SUPERVISORD, "11-1": Process("aaaaaaaa-0", "10-1", 9.0)}
    # Both were killed: nobody has their time any more.
    assert spent(before, {"20-9": Process("", "1-0", 0.4)}) == {"": 0.4}


def test_only_what_ran_after_a_reboot_counts_after_it() -> None:
    before = mark(90_000, fleet(900.0), {"11-1": 5000})
    processes = {key: replace(process, started_s=20.0) for key, process in fleet(3.0).items()}
    used = ledger.used(before, mark(50, processes, {"11-1": 40}, boot="another"))
    assert used.replica_s == 30
    assert used.total_cpu_s == pytest.approx(1.0 + 3.0 + 4.0)
    assert used.predictions == 0


def test_replica_that_does_not_answer_keeps_its_count_until_it_does(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    for uptime_s, rows in ((1000, {"aaaaaaaa-0": 100}), (1005, {}), (1010, {"aaaaaaaa-0": 160})):
        kept.add(reading(uptime_s, fleet(2.0), rows))
    assert kept.days()["2026-11-29"].predictions == 60


def test_rows_of_a_shadow_are_no_predictions(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    for uptime_s, rows in ((1000, 100), (1005, 160)):
        shadow = {"13-2": Process("bbbbbbbb-0", "10-1", 0.5, 0, 100.0)}
        found = reading(uptime_s, fleet(2.0, **shadow), {"aaaaaaaa-0": rows, "bbbbbbbb-0": rows})
        kept.add(replace(found, shadows=frozenset({"bbbbbbbb-0"})))
    assert kept.days()["2026-11-29"].predictions == 60


def test_ledger_goes_on_where_a_killed_one_left_off(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    first.add(reading(1000, fleet(2.0), {"aaaaaaaa-0": 100}))
    first.write()
    first.add(reading(1005, fleet(3.0), {"aaaaaaaa-0": 150}))  # never written: the process is killed here
    second = Ledger(tmp_path)
    second.add(reading(1300, fleet(9.0), {"aaaaaaaa-0": 900}))
    second.write()
    third = Ledger(tmp_path).days()
    assert third == second.days()
    assert third["2026-11-29"].predictions == 800
    assert third["2026-11-29"].replica_s == 300
    assert third["2026-11-29"].total_cpu_s == pytest.approx(7.0)


def test_another_process_knows_what_was_idle_since_the_last_line(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    kept.add(reading(1000, fleet(2.0), {"aaaaaaaa-0": 100}))
    kept.write()
    for uptime_s, rows in ((1005, 103), (1010, 103), (1015, 103)):
        kept.add(reading(uptime_s, fleet(2.0), {"aaaaaaaa-0": rows}))
        kept.keep()
    for other in (Ledger(tmp_path), Ledger(tmp_path)):
        other.add(reading(1016, fleet(2.0), {"aaaaaaaa-0": 105}))
        use = other.days()["2026-11-29"]
        assert (use.seconds, use.idle_s, use.predictions) == (16, 10, 5)
    kept.write()
    assert Ledger(tmp_path).days() == kept.days()


def test_ledger_that_was_deleted_starts_over(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    kept.add(reading(1000, fleet(2.0), {}))
    kept.write()
    kept.add(reading(1005, fleet(2.0), {}))
    kept.keep()
    (tmp_path / ledger.FILE_NAME).unlink()
    assert Ledger(tmp_path).days() == {}


def test_line_is_due_after_ten_minutes_and_when_the_clock_was_set_back(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    kept.add(reading(1000, fleet(2.0), {}))
    assert kept.is_due
    kept.write()
    due = []
    for uptime_s, at in ((1599, NOON + 599), (1600, NOON + 600), (1605, NOON - 5)):
        kept.add(reading(uptime_s, fleet(2.0), {}, at))
        due.append(kept.is_due)
    assert due == [False, True, True]


def test_line_is_due_when_a_replica_comes_so_that_a_kill_loses_none_of_its_rows(tmp_path: Path) -> None:
    kept, due = Ledger(tmp_path), []
    for uptime_s, rows in ((1000, {}), (1005, {"aaaaaaaa-0": 32}), (1010, {"aaaaaaaa-0": 132})):
        kept.add(reading(uptime_s, fleet(2.0), rows))
        due.append(kept.is_due)
        if kept.is_due:
            kept.write()
    assert due == [True, True, False]
    after = Ledger(tmp_path)
    after.add(reading(1030, fleet(2.0), {"aaaaaaaa-0": 135}))
    assert after.days()["2026-11-29"].predictions == 100 + 3


def test_days_are_kept_apart_at_midnight(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    midnight = NOON + 12 * 3600
    for uptime_s, at, rows in ((1000, midnight - 10, 10), (1005, midnight - 5, 17), (1010, midnight, 20)):
        kept.add(reading(uptime_s, fleet(2.0), {"aaaaaaaa-0": rows}, at))
    kept.write()
    for days in (kept.days(), Ledger(tmp_path).days()):
        assert {day: use.predictions for day, use in days.items()} == {"2026-11-29": 7, "2026-11-30": 3}


def test_days_over_a_week_old_become_one_line_each_and_sum_up_to_the_same(tmp_path: Path) -> None:
    kept, path = Ledger(tmp_path), tmp_path / ledger.FILE_NAME
    for hour in range(10 * 24 + 1):
        at = NOON + hour * 3600
        kept.add(reading(1000 + hour * 3600, fleet(2.0 + hour), {"aaaaaaaa-0": 100 * hour}, at))
        kept.write()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    # Days end at midnight, so ten of them from noon to noon are eleven; the newest eight stay by hour.
    assert [len([each for each in lines if ("mark" in each) is marked]) for marked in (False, True)] == [3, 24 * 7 + 13]
    again = Ledger(tmp_path).days()
    assert {day: use.predictions for day, use in again.items()} == {
        day: use.predictions for day, use in kept.days().items()
    }
    assert sum(use.predictions for use in again.values()) == 100 * 240
    assert sum(use.total_cpu_s for use in again.values()) == pytest.approx(240)
    assert path.stat().st_mode & 0o777 == 0o600


def test_fleet_that_was_down_for_long_goes_on_from_its_last_counters(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    for uptime_s, rows in ((1000, 100), (1600, 130), (2200, 140)):
        first.add(reading(uptime_s, fleet(2.0), {"aaaaaaaa-0": rows}))
        first.write()
    later = Ledger(tmp_path)
    later.add(reading(2200 + 30 * 86400, fleet(2.0), {"aaaaaaaa-0": 150}))
    later.write()
    assert sum(use.predictions for use in Ledger(tmp_path).days().values()) == 50
    assert len((tmp_path / ledger.FILE_NAME).read_text().splitlines()) == 2


def test_torn_line_is_left_out_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    kept.add(reading(1000, fleet(2.0), {"aaaaaaaa-0": 100}))
    kept.write()
    with (tmp_path / ledger.FILE_NAME).open("a") as file:
        file.write('{"at": 17, "predict')
    kept.add(reading(1005, fleet(2.0), {"aaaaaaaa-0": 130}))
    kept.write()
    assert Ledger(tmp_path).days()["2026-11-29"].predictions == 30


def test_what_a_full_disk_refuses_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / ledger.FILE_NAME
    path.symlink_to("/dev/full")
    kept = Ledger(tmp_path)
    for uptime_s, rows in ((1000, 100), (1005, 130)):
        kept.add(reading(uptime_s, fleet(2.0), {"aaaaaaaa-0": rows}))
    kept.write()
    assert kept.days()["2026-11-29"].predictions == 30
    path.unlink()
    kept.write()
    assert Ledger(tmp_path).days() == kept.days()
    assert kept.days()["2026-11-29"].predictions == 30


USE = Use(
    seconds=3600,
    replica_s=7200,
    cpu_s={"replicas": 1800.0, "envoy": 1200.0, "control": 600.0},
    gb_s=7200.0,
    predictions=500_000,
    idle_s=1800,
    idle_cpu_s=360.0,
    idle_gb_s=3600.0,
)


def test_money_is_time_and_memory_at_their_prices() -> None:
    found = report.figures(USE, Prices(cpu_hour=0.04, gb_hour=0.005))
    # One CPU hour and two GB hours.
    assert found["money"] == pytest.approx(0.05)
    assert found["money_per_million"] == pytest.approx(0.10)
    # A tenth of a CPU hour, and one GB hour.
    assert found["idle"] == pytest.approx(0.009)
    # Two replica hours with a CPU each, and two GB hours.
    assert found["reserved_per_million"] == pytest.approx(0.18)


def test_training_stands_beside_the_predictions_and_the_seed() -> None:
    found = report.of({"2026-11-29": USE}, Prices(), Training(money=0.001, cpu_s=90.0))
    assert found["training"]["predictions_of_equal_cost"] == pytest.approx(10_000)
    assert found["seed"]["per_million"] == pytest.approx(80)
    text = report.text(found)
    assert "a million predictions  0.1 USD, idle time included; the seed: 80 USD, 800 times that" in text
    assert "training               0.001000 USD, 90.0 CPU s: as much as 10,000 predictions" in text


def test_nothing_is_made_up_where_nothing_was_predicted_or_is_known() -> None:
    found = report.of({"2026-11-29": replace(USE, predictions=0)}, Prices(), Training())
    assert found["total"]["money_per_million"] is None
    assert found["training"] == {"money": None, "cpu_s": None, "predictions_of_equal_cost": None}
    text = report.text(found)
    assert "a million predictions  – USD" in text
    assert "unknown" in text


def test_prices_and_training_are_those_that_publish_wrote_beside_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "costs/bundles").mkdir(parents=True)
    written = {
        "prices": {"cpu_hour": 0.1, "gb_hour": 0.02, "currency": "EUR"},
        "total": {"money": 0.5, "cpu_s": 36.0, "wall_s": 30.0, "peak_mb": 1.0},
    }
    (tmp_path / "costs/bundles/aa.json").write_text(json.dumps(written))
    assert prices.read({}, tmp_path, "aa") == (Prices(0.1, 0.02, "EUR"), Training(0.5, 36.0))
    assert prices.read({}, tmp_path, "bb") == (Prices(), Training())
    given = {"BULKHEAD_PRICES": "cpu_hour=0.2 currency=CHF"}
    assert prices.read(given, tmp_path, "aa") == (Prices(0.2, 0.005, "CHF"), Training(0.5, 36.0))


@pytest.mark.parametrize("given", ["cpu_hour", "cpu_hour=-1", "cpu_hour=nan", "cpu_hour=inf", "gpu_hour=3", "0.04"])
def test_wrong_prices_are_refused_in_one_line(given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^BULKHEAD_PRICES is .*; it must be prices such as") as refused:
        prices.read({"BULKHEAD_PRICES": given}, tmp_path, None)
    assert "\n" not in str(refused.value)
