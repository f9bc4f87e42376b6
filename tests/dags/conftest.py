"""Airflow is set up before it is imported: no database, our plugins, a home that is thrown away."""

from __future__ import annotations

import atexit
import locale
import os
import shutil
import tempfile

from harness import PROJECT

locale.setlocale(locale.LC_CTYPE, "C.UTF-8")  # where LC_ALL is C, a library of Airflow's warns that there is none

_HOME = tempfile.mkdtemp(prefix="bulkhead-airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "dags" / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
}
