"""The monthly schedule: which months it names, and that it survives being stored in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest


def timetable(**arguments: Any) -> Any:
    from partition_schedule import MonthlyPartitions  # on the path once airflow has loaded its plugins

    return MonthlyPartitions(**arguments)


@pytest.fixture(autouse=True)
def plugins() -> None:
    from airflow import plugins_manager, settings

    settings.prepare_syspath_for_config_and_plugins()
    plugins_manager.get_timetables_plugins()


def next_run(schedule: Any, *, after: Any = None, catchup: bool = True) -> Any:
    from airflow.timetables.base import TimeRestriction
    from pendulum import datetime as moment

    restriction = TimeRestriction(earliest=moment(2013, 1, 2), latest=None, catchup=catchup)
    return schedule.next_dagrun_info_v2(last_dagrun_info=after, restriction=restriction)


def keys_of_backfill(schedule: Any, start: datetime, end: datetime) -> list[str]:
    return [info.partition_key for info in schedule.iter_partition_dagrun_infos(earliest=start, latest=end)]


def test_a_month_is_due_when_it_is_over() -> None:
    first = next_run(timetable(last=None))
    assert (first.partition_key, first.run_after) == ("2013-01", datetime(2013, 2, 1, tzinfo=UTC))
    second = next_run(timetable(last=None), after=first)
    assert (second.partition_key, second.run_after) == ("2013-02", datetime(2013, 3, 1, tzinfo=UTC))


def test_the_months_follow_each_other_when_the_start_is_delayed() -> None:
    schedule = timetable(last=None, delay=timedelta(days=1))
    first = next_run(schedule)
    second = next_run(schedule, after=first)
    assert [first.partition_key, second.partition_key] == ["2013-01", "2013-02"]
    assert second.run_after == datetime(2013, 3, 2, tzinfo=UTC)
    assert second.partition_date == datetime(2013, 2, 1, tzinfo=UTC)


def test_all_months_from_the_named_one_on_are_due_when_the_dag_catches_up() -> None:
    from airflow.timetables.base import TimeRestriction
    from pendulum import datetime as moment

    schedule, run, keys = timetable(last="2013-08", delay=timedelta(days=1)), None, []
    restriction = TimeRestriction(earliest=moment(2013, 5, 2), latest=None, catchup=True)
    while run := schedule.next_dagrun_info_v2(last_dagrun_info=run, restriction=restriction):
        keys.append(run.partition_key)
    assert keys == ["2013-05", "2013-06", "2013-07", "2013-08"]


@pytest.mark.parametrize("catchup", [True, False])
def test_nothing_is_scheduled_after_the_last_month(catchup: bool) -> None:
    from airflow.timetables.base import DagRunInfo

    november = DagRunInfo(
        run_after=datetime(2013, 12, 1, tzinfo=UTC), data_interval=None, partition_date=None, partition_key="2013-11"
    )
    assert next_run(timetable(last="2013-11"), after=november, catchup=catchup) is None
    assert next_run(timetable(last=None), after=november, catchup=catchup) is not None


def test_backfill_of_a_year_names_its_twelve_months() -> None:
    year = keys_of_backfill(timetable(last=None), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 12, 1, tzinfo=UTC))
    assert year == [f"2013-{month:02d}" for month in range(1, 13)]


def set_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Let the timetable have this time."""
    import partition_schedule

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return now

    monkeypatch.setattr(partition_schedule, "datetime", Clock)


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), "2026-10"),
        (datetime(2027, 1, 1, 0, 0, 30, tzinfo=UTC), "2026-12"),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "2028-01"),
    ],
)
def test_backfill_until_today_leaves_out_the_month_under_way(
    monkeypatch: pytest.MonkeyPatch, now: datetime, newest: str
) -> None:
    set_clock(monkeypatch, now)
    assert keys_of_backfill(timetable(last=None), now - timedelta(days=100), now)[-1] == newest


def test_newest_month_is_due_at_once_when_a_dag_was_paused_for_months() -> None:
    schedule = timetable(last=None, delay=timedelta(days=1))
    began = datetime.now(UTC)
    due = next_run(schedule, after=next_run(schedule), catchup=False)
    now = datetime.now(UTC)
    # Both, since a month may end meanwhile.
    assert due.partition_key in {f"{each.replace(day=1) - timedelta(days=1):%Y-%m}" for each in (began, now)}
    assert due.run_after <= now.replace(day=1) + timedelta(days=1)


def test_run_of_an_event_or_by_hand_has_the_date_by_which_a_backfill_finds_it() -> None:
    schedule = timetable(last=None)
    (info,) = schedule.iter_partition_dagrun_infos(
        earliest=datetime(2013, 7, 1, tzinfo=UTC), latest=datetime(2013, 7, 31, tzinfo=UTC)
    )
    assert schedule.get_partition_mapper().to_partition_date("2013-07") == info.partition_date
    assert schedule.resolve_partition_date("2013-07") == info.partition_date


@pytest.mark.parametrize("key", ["2013-7", "2013", "2013-07-01", "2026-12", "2999-01"])
def test_key_that_is_no_finished_month_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    from airflow.exceptions import InvalidPartitionKeyError

    set_clock(monkeypatch, datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    with pytest.raises(InvalidPartitionKeyError):
        timetable(last=None).resolve_partition_date(key)


def test_month_is_finished_in_the_moment_in_which_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, datetime(2027, 1, 1, tzinfo=UTC))
    assert timetable(last=None).resolve_partition_date("2026-12") == datetime(2026, 12, 1, tzinfo=UTC)


def test_the_schedule_survives_being_stored() -> None:
    from airflow.sdk import Asset
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    before = timetable(last="2013-12", asset=Asset("data", uri="x-test://data"), delay=timedelta(hours=5))
    after = decode_timetable(encode_timetable(before))
    assert after.serialize() == before.serialize()
    assert after.partitioned
    assert after.periodic
    assert [key.name for key, _ in after.asset_condition.iter_assets()] == ["data"]
    assert after.get_partition_mapper(name="data").to_downstream("2013-01") == "2013-01"


def test_event_of_a_month_can_be_stored() -> None:
    from airflow.sdk import Asset
    from airflow.timetables.base import compute_rollup_fingerprint

    assert compute_rollup_fingerprint(timetable(last=None, asset=Asset("data", uri="x-test://data")))
