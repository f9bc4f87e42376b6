#!/usr/bin/env bash
# A client of PostgreSQL cannot reach a server by a Unix socket whose directory has a comma in its path: libpq takes `host` for a list, also
# where it is a path, and also where a URL writes the comma as %2C. A guess from memory says that what is encoded is one value.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check psycopg2-binary==2.9.13
mkdir "$directory/a,b"
"$directory/venv/bin/python" - "$directory/a,b" <<'PYTHON'
import sys
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import libpq_version, make_dsn

path = sys.argv[1]
first, second = path.split(",")
print("psycopg2", psycopg2.__version__, "libpq", libpq_version())
for written in (make_dsn(host=path), f"postgresql:///?host={quote(path, safe='')}"):
    try:
        psycopg2.connect(written, connect_timeout=2)
    except psycopg2.OperationalError as error:
        said = str(error)
    asked = [f"{first}/.s.PGSQL.5432" in said, f'"{second}"' in said, f"{path}/" in said]
    print("asked for the part before the comma, for the part after it as a host, for the whole path:", asked)
    assert asked == [True, True, False], said
PYTHON
