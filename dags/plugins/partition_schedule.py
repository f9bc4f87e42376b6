"""The monthly schedule of the pipeline: `CronPartitionTimetable` plus what Airflow 3.3 lacks.

- An asset beside the months: `PartitionedAssetTimetable` cannot be backfilled, and `AssetOrTimeSchedule` knows no partitions
  (the events of a partitioned DAG never trigger it).
- An end: `end_date` of a DAG would also stop every run by hand.
- A month is due only when it is over: a backfill does not check that its partitions are complete.
- A date for every key: a backfill finds runs by their partition date alone, and repeats a month whose run has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.exceptions import InvalidPartitionKeyError
from airflow.partition_mappers.identity import IdentityMapper
from airflow.plugins_manager import AirflowPlugin
from airflow.serialization.decoders import decode_asset_like
from airflow.serialization.encoders import encode_asset_like, ensure_serialized_asset
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable


class MonthKeys(IdentityMapper):  # type: ignore[misc]  # airflow's types are not followed
    """The mapper of an event's key to the run's key, unchanged; the run's date follows from the key, even if the producer had none."""

    def to_partition_date(self, downstream_key: str) -> datetime:
        """Return the first moment of the key's month, UTC."""
        return datetime.strptime(downstream_key, "%Y-%m").replace(tzinfo=UTC)


class MonthlyPartitions(CronPartitionTimetable):  # type: ignore[misc]  # airflow's types are not followed
    """A run for every month when it is over, with a partition key such as `2013-01`; can be backfilled.

    Args:
        last: the last month to schedule; None: no end. Runs by hand and backfills may go beyond it.
        asset: adds a run for every partition key in events of this asset.
        delay: how long after the month's end the scheduled run starts. With an asset, long enough that its event comes
            first: the scheduled run then finds its work in the cache. Keys and dates stay those of the asset's producer, so
            a backfill sees which months were done.
    """

    def __init__(self, *, last: str | None, asset: Any = None, delay: timedelta = timedelta()) -> None:
        super().__init__("0 0 1 * *", timezone="UTC", run_offset=-1, key_format="%Y-%m")
        self.last = last
        self.delay = delay
        if asset is not None:
            self.asset_condition = ensure_serialized_asset(asset)

    @property
    def summary(self) -> str:
        """The schedule as the UI shows it."""
        return "Partitioned asset or monthly" if self.asset_condition else "Monthly"

    def get_partition_mapper(self, *, name: str = "", uri: str = "") -> MonthKeys:  # noqa: ARG002
        return MonthKeys()

    @property
    def partition_mapper_info(self) -> list[dict[str, Any]]:
        assets = (key for key, _ in self.asset_condition.iter_assets())
        return [{"name": key.name, "uri": key.uri, "is_rollup": False} for key in assets]

    def next_dagrun_info_v2(self, **arguments: Any) -> DagRunInfo | None:
        """Return the next scheduled run, later by `delay`; None after the last month."""
        info = super().next_dagrun_info_v2(**arguments)
        if info is None or (self.last is not None and info.partition_key > self.last):
            return None
        return info._replace(run_after=info.run_after + self.delay)

    def iter_partition_dagrun_infos(self, **arguments: Any) -> Iterator[DagRunInfo]:
        """Yield the partitions of a backfill that are over."""
        return (info for info in super().iter_partition_dagrun_infos(**arguments) if _is_over(info.partition_key))

    def _decode_partition_date(self, partition_key: str) -> datetime:
        """Return the first moment of the month that a run by hand is for.

        Raises:
            InvalidPartitionKeyError: the key is not a month such as `2013-07` (`2013-7` would be another key), or the month is not over.
        """
        date: datetime = super()._decode_partition_date(partition_key)
        if date.strftime(self._key_format) != partition_key:
            raise InvalidPartitionKeyError(f"{partition_key!r} is not a month; write it like 2013-07")
        if not _is_over(partition_key):
            raise InvalidPartitionKeyError(
                f"{partition_key} is not over yet (UTC); its data is incomplete; run it when the month has ended"
            )
        return date

    def serialize(self) -> dict[str, Any]:
        """Return the timetable as JSON for Airflow's database."""
        asset = encode_asset_like(self.asset_condition) if self.asset_condition else None
        return {"last": self.last, "asset": asset, "delay_s": self.delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MonthlyPartitions:
        """Return the timetable of `serialize`."""
        asset = decode_asset_like(data["asset"]) if data["asset"] else None
        return cls(last=data["last"], asset=asset, delay=timedelta(seconds=data["delay_s"]))


def _is_over(month: str) -> bool:
    return month < datetime.now(UTC).strftime("%Y-%m")


class PartitionSchedulePlugin(AirflowPlugin):  # type: ignore[misc]
    """The registration of the timetable and of its mapper with Airflow."""

    name = "partition_schedule"
    timetables = [MonthlyPartitions]  # noqa: RUF012
    partition_mappers = [MonthKeys]  # noqa: RUF012 - else no event of a month can be stored
