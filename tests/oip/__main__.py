"""`python -m tests.oip --http URL --grpc HOST:PORT`: ask a server every clause of the Open Inference Protocol.

Needs Python with the packages of requirements/client.txt, and nothing of this project. Exit code: 0 where no clause failed, 1
where one did, 75 where there is no such server, 64 where there is nothing to ask it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from tests.oip import binary_checks, grpc_checks, http_checks, http_refusals, standard_services
from tests.oip.clauses import CHECKS, Result, judge
from tests.oip.server import Grpc, Http, Server, UnusableError
from tests.oip.tensors import Tensor, flat

_EXIT_USAGE, _EXIT_UNREACHABLE = 64, 75
_MODULES = (
    http_checks,
    http_refusals,
    binary_checks,
    grpc_checks,
    standard_services,
)  # imported, their checks are entered
_VERDICTS = ("PASS", "FAIL", "NOT OFFERED")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    http = Http(options.http) if options.http else None
    over_grpc = Grpc(options.grpc) if options.grpc else None
    try:
        server = Server(options.model or _only_model(http), http, over_grpc, _example(options.example))
        server.inputs  # noqa: B018  # without a request that works there is nothing to judge
    except (OSError, grpc.RpcError) as error:
        print(f"the server does not answer: {error}", file=sys.stderr)
        return _EXIT_UNREACHABLE
    except (UnusableError, KeyError, ValueError) as error:
        print(f"there is nothing to ask: {error}", file=sys.stderr)
        return _EXIT_USAGE
    results = [judge(check, server) for check in CHECKS]
    print(json.dumps(_as_json(options, server, results)) if options.json else _in_words(results))
    return int(any(result.verdict == "FAIL" for result in results))


def _only_model(http: Http | None) -> str:
    """The one model of a server that lists its models, which only an extension of the protocol does."""
    answer = http.post("v2/repository/index", {"ready": True}) if http else None
    if answer is None or answer.status != 200:
        raise UnusableError("the server does not list its models: name one by --model")
    names = sorted({entry["name"] for entry in json.loads(answer.content)})
    if len(names) != 1:
        raise UnusableError(f"the server has the models {', '.join(names)}: name one by --model")
    return str(names[0])


def _example(path: Path | None) -> Sequence[Tensor]:
    """The inputs of a request, as JSON has them."""
    if path is None:
        return ()
    entries = json.loads(path.read_bytes())["inputs"]
    return [
        Tensor(
            entry["name"],
            entry["datatype"],
            tuple(entry["shape"]),
            tuple(value.encode() if isinstance(value, str) else value for value in flat(entry["data"])),
        )
        for entry in entries
    ]


def _in_words(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        check = result.check
        lines.append(f"{result.verdict:<12} {check.specification:<11} {check.clause}: {check.says}")
        if result.detail:
            lines.append(f"{'':<25}{result.detail}")
    lines += ["", f"{'':<12}" + "".join(f"{verdict:>13}" for verdict in _VERDICTS)]
    for specification, counts in _counts(results).items():
        lines.append(f"{specification:<12}" + "".join(f"{counts[verdict]:>13}" for verdict in _VERDICTS))
    return "\n".join(lines)


def _counts(results: Sequence[Result]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for result in results:
        for name in (result.check.specification, "all"):
            counts.setdefault(name, Counter())[result.verdict] += 1
    counts["all"] = counts.pop("all")  # last
    return counts


def _as_json(options: argparse.Namespace, server: Server, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "http": options.http,
        "grpc": options.grpc,
        "model": server.name,
        "counts": _counts(results),
        "checks": [
            {
                "specification": result.check.specification,
                "clause": result.check.clause,
                "says": result.check.says,
                "verdict": result.verdict,
                "detail": result.detail,
            }
            for result in results
        ],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.oip", description=__doc__)
    parser.add_argument("--http", metavar="URL", help="such as http://127.0.0.1:3000")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="such as 127.0.0.1:3001")
    parser.add_argument("--model", metavar="NAME", help="default: the only one, where the server lists its models")
    parser.add_argument(
        "--example",
        type=Path,
        metavar="FILE",
        help="a request that the model answers, as JSON; default: made from its metadata",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
