"""Studies that take minutes, for which a run does not wait: their verdicts, and whether they are those of today's table and settings.

python -m drills.score.studies --keep   # after `tune` and `staleness` have run here: keep their verdicts with all that they depend on
python -m drills.score.studies          # what has changed since, as JSON by study; nothing for one that still holds
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contract import command_line
from contract.errors import BulkheadError
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
    """Return the names of what each study depended on that is different in this directory.

    Raises:
        ValueError: a kept study is none of those that this version makes.
    """
    from pipelines.stages.staleness import measured
    from pipelines.stages.tune import search

    today = {"tuning": search.identity(params, Rows(paths.TRAINING_ROWS)), "staleness": measured.identity(params)}
    plain: dict[str, dict[str, Any]] = json.loads(canonical_json(today))  # tuples are lists there
    if unknown := kept.keys() - plain.keys():
        raise ValueError(f"unknown study {min(unknown)!r}; known are {', '.join(plain)}")
    return {
        name: sorted(key for key in plain[name].keys() - _UNASKED if plain[name][key] != entry["study"].get(key))
        for name, entry in kept.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Keep the verdicts, or print what has changed since."""
    parser = command_line.parser(prog="python -m drills.score.studies", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=FILE, help=f"of the kept studies (default: {FILE.name})")
    parser.add_argument(
        "--keep", action="store_true", help="keep the verdicts of `tune` and `staleness`, which ran here"
    )
    asked = parser.parse_args(arguments)
    try:
        kept: dict[str, dict[str, Any]] = json.loads(asked.file.read_bytes())
        if asked.keep:
            write_atomically(asked.file, canonical_json(kept | found_here()))
        else:
            print(json.dumps(changes(kept, file.load())))
    except (OSError, ValueError, BulkheadError) as error:
        parser.error(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
