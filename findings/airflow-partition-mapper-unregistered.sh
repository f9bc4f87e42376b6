#!/usr/bin/env bash
# Airflow 3.3: a plugin that registers a timetable must register that timetable's own partition mapper too, under `partition_mappers`. Without
# it the DAG is stored and read back without a word, and then no event of its asset can be stored: the error says that the class, which can
# be imported, could not be.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check apache-airflow==3.3.2
export AIRFLOW_HOME="$directory/airflow" AIRFLOW__CORE__PLUGINS_FOLDER="$directory/plugins"
mkdir "$directory/plugins"
cat > "$directory/plugins/monthly.py" <<'PYTHON'
import os

from airflow.partition_mappers.identity import IdentityMapper
from airflow.plugins_manager import AirflowPlugin
from airflow.serialization.decoders import decode_asset_like
from airflow.serialization.encoders import encode_asset_like, ensure_serialized_asset
from airflow.timetables.trigger import CronPartitionTimetable


class Keys(IdentityMapper):
    pass


class Monthly(CronPartitionTimetable):
    def __init__(self, asset):
        super().__init__("0 0 1 * *", timezone="UTC", key_format="%Y-%m")
        self.asset_condition = ensure_serialized_asset(asset)

    def get_partition_mapper(self, *, name="", uri=""):
        return Keys()

    def serialize(self):
        return {"asset": encode_asset_like(self.asset_condition)}

    @classmethod
    def deserialize(cls, data):
        return cls(decode_asset_like(data["asset"]))


class Plugin(AirflowPlugin):
    name = "monthly"
    timetables = [Monthly]
    partition_mappers = [Keys] if os.environ["REGISTERED"] == "yes" else []
PYTHON
cat > "$directory/try.py" <<'PYTHON'
import os

from airflow import settings

settings.prepare_syspath_for_config_and_plugins()
from airflow.sdk import DAG, Asset
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import compute_rollup_fingerprint
from monthly import Monthly

dag = DAG("monthly", schedule=Monthly(Asset("data", uri="x-test://data")))
stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
print("registered:", os.environ["REGISTERED"])
print("  the DAG is stored and read back,", type(stored.timetable).__name__)
try:  # as airflow.assets.manager does for each event
    found = str(compute_rollup_fingerprint(stored.timetable))
except ValueError as error:
    found = f"{type(error).__name__}: {error}"
print("  an event of its asset:", found)
assert ("could not be imported" in found) == (os.environ["REGISTERED"] == "no"), found
PYTHON
for registered in yes no; do REGISTERED=$registered "$directory/venv/bin/python" -W ignore "$directory/try.py"; done
