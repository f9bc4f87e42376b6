"""Studies that take minutes, for which a run does not wait: their verdicts, and whether they are those of today's table and settings.

python -m drills.score.studies keep FILE   # after `tune` and `staleness` have run here: keep their verdicts with all that they depend on
python -m drills.score.studies FILE        # what has changed since, as JSON by study; nothing for one that still holds
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.data.training import Rows
from pipelines.models.tuning import OFF
from pipelines.params import file
from pipelines.params.params import Params

FILE = Path(__file__).with_name("studies.json")
_UNASKED = {"code"}  # changes with every refactoring; the libraries are asked


def found_here() -> dict[str, dict[str, Any]]:
    """Return the studies of the run in this directory."""
    tuning, staleness = (json.loads(path.read_bytes()) for path in (paths.TUNING, paths.STALENESS))
    found = {}
    if tuning["verdict"] != OFF:
        found["tuning"] = {name: tuning[name] for name in ("verdict", "parameters", "evidence", "trials", "study")}
    if staleness["sentence"]:
        found["staleness"] = {name: staleness[name] for name in ("sentence", "ages", "study")}
    return found


def changes(kept: dict[str, dict[str, Any]], params: Params) -> dict[str, list[str]]:
    """Return the names of what each study depended on that is different in this directory."""
    from pipelines.stages.staleness import measured
    from pipelines.stages.tune import search

    today = {"tuning": search.identity(params, Rows(paths.TRAINING_ROWS)), "staleness": measured.identity(params)}
    plain: dict[str, dict[str, Any]] = json.loads(canonical_json(today))  # tuples are lists there
    return {
        name: sorted(key for key in plain[name].keys() - _UNASKED if plain[name][key] != entry["study"].get(key))
        for name, entry in kept.items()
    }


def main(arguments: list[str]) -> None:
    """Keep the verdicts, or print what has changed since."""
    path = Path(arguments[-1])
    kept = json.loads(path.read_bytes()) if path.exists() else {}
    if arguments[0] == "keep":
        write_atomically(path, canonical_json(kept | found_here()))
    else:
        print(json.dumps(changes(kept, file.load())))


if __name__ == "__main__":
    main(sys.argv[1:])
