#!/usr/bin/env bash
# The hour of a day depends on who is asked, once it lies ahead, as maturities and ends of contracts do. From 2038 on pyarrow 26 knows no summer time (it
# ignores the rule at the end of a zone's file), from 2100 on polars 2.1 knows none; pandas, DuckDB and zoneinfo go on. pandas itself gives two
# hours for one moment, by its default type and by `timestamp[…][pyarrow]`; and polars hands Python another hour than `dt.hour()` says.
# So compute local times in one library, or store UTC with them. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0 duckdb==1.5.6 numpy==2.4.6 tzdata==2026.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

ZONE = "America/New_York"
duckdb.execute(f"SET TimeZone = '{ZONE}'")


def hours(year):
    """The hour in New York at noon UTC on the first of July: 8 in summer time, 7 without."""
    moment = datetime(year, 7, 1, 12, tzinfo=UTC)
    series = pl.Series([moment]).dt.convert_time_zone(ZONE)
    frame = pd.Series([moment]).dt.tz_convert(ZONE)
    return {
        "zoneinfo": moment.astimezone(ZoneInfo(ZONE)).hour,
        "DuckDB": duckdb.execute("SELECT hour(?::TIMESTAMPTZ)", [moment.isoformat()]).fetchone()[0],
        "pandas": int(frame.dt.hour[0]),
        "pandas, pyarrow type": int(frame.astype(f"timestamp[us, {ZONE}][pyarrow]").dt.hour[0]),
        "pyarrow": pc.hour(pa.array([moment], pa.timestamp("us", ZONE)))[0].as_py(),
        "polars": int(series.dt.hour()[0]),
        "polars, as a Python object": series[0].hour,
    }


print(f"pyarrow {pa.__version__}, polars {pl.__version__}, pandas {pd.__version__}, duckdb {duckdb.__version__}")
found = {year: hours(year) for year in (2037, 2038, 2099, 2100)}
for year, said in found.items():
    print(f"{year}: {said}")
right = dict.fromkeys(found[2037], 8)
by_arrow = right | {"pandas, pyarrow type": 7, "pyarrow": 7}
sys.exit(found != {2037: right, 2038: by_arrow, 2099: by_arrow, 2100: by_arrow | {"polars": 7}})
PYTHON
