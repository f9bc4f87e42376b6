#!/usr/bin/env bash
# Airflow with a percent sign in the path of AIRFLOW_HOME writes its logs to a folder named {AIRFLOW_HOME} in the directory where it is started:
# the defaults below its home are not filled in. A guess from memory says that a home is a path like any other.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check apache-airflow-core==3.3.2
ask() {
    mkdir -p "$1"
    AIRFLOW_HOME=$1 AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$1/airflow.db" "$directory/venv/bin/python" -c '
from airflow.configuration import conf
print(conf.get("logging", "base_log_folder"))' 2>/dev/null | tail -1
}
plain=$(ask "$directory/home")
percent=$(ask "$directory/home 9%")
printf '%s\n' "without: ${plain#"$directory"}" "with a percent sign: $percent"
[ "$plain" = "$directory/home/logs" ] && [ "$percent" = "{AIRFLOW_HOME}/logs" ]
