#!/usr/bin/env bash
# fsspec does not decode `file://` URLs: what Path.as_uri() gives for a file with a space, a % or a letter beyond ASCII names no file for it,
# while polars, pandas.read_csv and urllib read that file. So decode such a URL before fsspec gets it. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check fsspec==2026.9.0 polars==2.1.0
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys
from pathlib import Path
from urllib.parse import unquote
from urllib.request import urlopen

import fsspec
import polars as pl

named = Path(sys.argv[1]) / "März, 100% of it.csv"
named.write_text("a\n1\n")
url = named.as_uri()
print(f"fsspec {fsspec.__version__}, polars {pl.__version__}: {named.name} is …{url[-28:]}")
print(f"urllib reads {len(urlopen(url).read())} bytes, polars {pl.read_csv(url).height} row")
try:
    with fsspec.open(url) as file:
        found = f"reads {len(file.read())} bytes"
except FileNotFoundError as error:
    found = f"FileNotFoundError: …{error.filename[-28:]}"
print(f"fsspec: {found}")
with fsspec.open(unquote(url)) as file:
    print(f"fsspec, given the URL decoded: reads {len(file.read())} bytes")
sys.exit(not found.startswith("FileNotFoundError"))
PYTHON
