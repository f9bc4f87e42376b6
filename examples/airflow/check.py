"""Checks of an Airflow in production; in the environment `cluster`, docs/how-to/airflow-executors.md, "Production".

airflow connections export --format json - | python examples/airflow/check.py connections [--allow NAME …]
python examples/airflow/check.py values CHART        a directory with the official chart, for its values.schema.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

REJECTED = 65  # as the project's other gates
VALUES = Path(__file__).with_name("values.yaml")


def main(arguments: list[str]) -> int:
    """Print what is wrong, a line each; return 0 if nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks = parser.add_subparsers(dest="check", required=True)
    connections = checks.add_parser("connections")
    connections.add_argument("--allow", nargs="*", default=[], metavar="NAME")
    values = checks.add_parser("values")
    values.add_argument("chart", type=Path)
    values.add_argument("--values", type=Path, default=VALUES)
    options = parser.parse_args(arguments)
    try:
        if options.check == "connections":
            wrong = stored(json.load(sys.stdin), os.environ, options.allow)
        else:
            wrong = misfits(options.values, options.chart)
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}; name the directory of the unpacked chart")
    except ValueError as error:
        sys.exit(f"no JSON ({error}); export the connections with `--format json`, and unpack the chart again")
    for line in wrong:
        print(line, file=sys.stderr)
    return REJECTED if wrong else 0


def stored(connections: dict[str, Any], environment: Collection[str], allowed: Collection[str]) -> list[str]:
    """Return a line for each connection that is not allowed.

    Whoever may write a DAG may read all of them. The DAGs of this project need none, so each is a credential too many, at worst one that
    opens the bundle store or the fleet.
    """
    of_variables = {
        name.removeprefix("AIRFLOW_CONN_").lower() for name in environment if name.startswith("AIRFLOW_CONN_")
    }
    return [
        f"connection {name!r} is stored in Airflow, where every DAG can read it, and those of this project need none: delete it and give "
        f"the credential to the workers' environment, or pass `--allow {name}` if it opens neither the bundle store nor the fleet"
        for name in sorted({*connections, *of_variables} - set(allowed))
    ]


def misfits(values: Path, chart: Path) -> list[str]:
    """Return a line for each value that the chart's schema rejects, or of which it knows nothing."""
    import yaml
    from jsonschema import Draft7Validator

    given, schema = yaml.safe_load(values.read_text()), json.loads((chart / "values.schema.json").read_bytes())
    unknown = [f"{name}: the chart has no such value" for name in given if name not in schema["properties"]]
    errors = Draft7Validator(schema).iter_errors(given)
    return unknown + [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
