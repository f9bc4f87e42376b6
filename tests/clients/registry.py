"""The clients: how each is made from its program, which version it is, and what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from harness import PROJECT, interpreter
from tests.clients import proxies

PROGRAMS = Path(__file__).parent / "programs"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
GO_CODE = Path("/usr/share/gocode")  # of Debian's packages of Go sources
_TIMEOUT_S = 180

Proxy = Callable[[str, Path], AbstractContextManager[str]]


class MissingError(Exception):
    """A client cannot be run here."""


@dataclass(frozen=True)
class Client:
    """A client that asks by a program.

    Attributes:
        version: command that prints it, of which the first word with a digit is taken.
        make: gives the command of the program, made in a directory.
        needs: programs and files without which there is no such client.
        proxy: what stands between Python's http.client and the server.
        probes: whether it makes connections of its own accord.
    """

    name: str
    protocol: str
    version: list[str | Path]
    make: Callable[[Path], list[str | Path]]
    needs: tuple[str | Path, ...] = ()
    proxy: Proxy | None = None
    probes: bool = False

    def command(self, directory: Path) -> list[str | Path]:
        """Make the program. Raises: MissingError."""
        for need in self.needs:
            there = need.exists() if isinstance(need, Path) else shutil.which(need, path=PATH)
            if not there:
                made = (
                    f"; `make {need.parents[1].relative_to(PROJECT)}/installed.txt` makes it" if need in _MADE else ""
                )
                raise MissingError(f"{need} is not there{made}")
        return self.make(directory)


def run(command: list[str | Path], directory: Path | None = None, **variables: str) -> str:
    """Return what a command prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GRPC", "GO"))}
    environment = kept | {"PATH": PATH} | variables
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def _program(*command: str | Path) -> Callable[[Path], list[str | Path]]:
    return lambda _: [*command]


def _protoc(directory: Path, *options: str, files: tuple[str, ...] = ("oip", "health")) -> None:
    run(
        ["protoc", "-I", PROJECT, *options, *(PROJECT / "bentos" / "protos" / f"{name}.proto" for name in files)],
        directory,
    )


def _cpp(directory: Path) -> list[str | Path]:
    plugin = shutil.which("grpc_cpp_plugin", path=PATH)
    _protoc(directory, "--cpp_out=.", "--grpc_out=.", f"--plugin=protoc-gen-grpc={plugin}")
    compiler = ["g++", "-std=c++17", "-O0", "-w", "-I.", PROGRAMS / "grpc_cpp.cc", "bentos/protos/health.pb.cc"]
    run([*compiler, "-o", "ask", *run(["pkg-config", "--libs", "grpc++", "protobuf"]).split()], directory)
    return [directory / "ask"]


def _go(program: str) -> Callable[[Path], list[str | Path]]:
    def make(directory: Path) -> list[str | Path]:
        variables = {"GO111MODULE": "off", "GOPATH": f"{directory}:{GO_CODE}"}
        if program.startswith("grpc"):
            run(["go", "build", "github.com/golang/protobuf/protoc-gen-go"], directory, **variables)
            (directory / "src").mkdir(exist_ok=True)
            options = (f"--plugin={directory}/protoc-gen-go", "--go_out=plugins=grpc,import_path=inference:src")
            _protoc(directory, *options, files=("oip",))
            (directory / "src" / "bentos" / "protos").rename(directory / "src" / "inference")
        run(["go", "build", "-o", "ask", PROGRAMS / program], directory, **variables)
        return [directory / "ask"]

    return make


def _ruby(directory: Path) -> list[str | Path]:
    plugin = shutil.which("grpc_ruby_plugin", path=PATH)
    _protoc(directory, "--ruby_out=.", "--grpc_out=.", f"--plugin=protoc-gen-grpc={plugin}", files=("oip",))
    return ["ruby", "-I", directory, PROGRAMS / "grpc_ruby.rb"]


def _grpc_js(_: Path) -> list[str | Path]:
    if not (_NODE / "node_modules" / ".package-lock.json").exists():  # which npm writes last
        _NODE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(Path(__file__).parent / "node" / name, _NODE)
        try:
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], _NODE)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise MissingError(f"its packages cannot be installed: {str(error).splitlines()[0]}") from error
    return ["env", f"NODE_PATH={_NODE}/node_modules", "node", PROGRAMS / "grpc_js.cjs", PROJECT]


_NODE = PROJECT / "var" / "clients" / "node"
_MADE = (interpreter("client"), interpreter("kserve"))
_INCLUDED = Path("/usr/include")
_GRPC_GO = GO_CODE / "src" / "google.golang.org" / "grpc"
_ASK = _program("python3", PROGRAMS / "http_client.py")


def _package(python: Path, name: str) -> list[str | Path]:
    return [python, "-c", f"import importlib.metadata as m; print(m.version('{name}'))"]


CLIENTS = [
    Client("curl", "HTTP", ["curl", "--version"], _program("sh", PROGRAMS / "curl.sh"), ("curl",)),
    Client("curl --http2", "HTTP", ["curl", "--version"], _program("sh", PROGRAMS / "curl.sh", "--http2"), ("curl",)),
    Client("Python http.client", "HTTP", ["python3", "--version"], _ASK, ("python3",)),
    Client(
        "Java HttpClient",
        "HTTP",
        ["java", "--version"],
        _program("java", PROGRAMS / "HttpClientAsk.java"),
        ("java", "javac"),
    ),
    Client("Node fetch", "HTTP", ["node", "--version"], _program("node", PROGRAMS / "fetch.mjs"), ("node",)),
    Client("Go net/http", "HTTP", ["go", "version"], _go("net_http.go"), ("go",)),
    Client("Ruby Net::HTTP", "HTTP", ["ruby", "--version"], _program("ruby", PROGRAMS / "net_http.rb"), ("ruby",)),
    Client("nginx proxy_pass", "HTTP", ["nginx", "-v"], _ASK, ("nginx",), proxies.nginx),
    Client("HAProxy, option httpchk", "HTTP", ["haproxy", "-v"], _ASK, ("haproxy",), proxies.haproxy, probes=True),
    Client(
        "tritonclient.http",
        "HTTP /v2",
        _package(interpreter("client"), "tritonclient"),
        _program(interpreter("client"), PROGRAMS / "triton_client.py", "http"),
        (interpreter("client"),),
    ),
    Client(
        "kserve InferenceRESTClient",
        "HTTP /v2",
        _package(interpreter("kserve"), "kserve"),
        _program(interpreter("kserve"), PROGRAMS / "kserve_client.py", "http"),
        (interpreter("kserve"),),
    ),
    Client(
        "tritonclient.grpc",
        "gRPC",
        _package(interpreter("client"), "tritonclient"),
        _program(interpreter("client"), PROGRAMS / "triton_client.py", "grpc"),
        (interpreter("client"),),
    ),
    Client(
        "kserve InferenceGRPCClient",
        "gRPC",
        _package(interpreter("kserve"), "kserve"),
        _program(interpreter("kserve"), PROGRAMS / "kserve_client.py", "grpc"),
        (interpreter("kserve"),),
    ),
    Client(
        "Node grpc-js",
        "gRPC",
        ["node", "-p", f"require('{_NODE}/node_modules/@grpc/grpc-js/package.json').version"],
        _grpc_js,
        ("node", "npm"),
    ),
    Client(
        "Go grpc-go",
        "gRPC",
        ["sed", "-n", 's/^const Version = "\\(.*\\)"/\\1/p', _GRPC_GO / "version.go"],
        _go("grpc_go.go"),
        ("go", "protoc", _GRPC_GO),
    ),
    Client(
        "C++ gRPC",
        "gRPC",
        ["pkg-config", "--modversion", "grpc++"],
        _cpp,
        (
            "g++",
            "pkg-config",
            "protoc",
            "grpc_cpp_plugin",
            _INCLUDED / "grpcpp",
            _INCLUDED / "google/protobuf/message.h",
        ),
    ),
    Client(
        "Ruby grpc",
        "gRPC",
        ["ruby", "-e", "require 'grpc'; puts GRPC::VERSION"],
        _ruby,
        ("ruby", "protoc", "grpc_ruby_plugin"),
    ),
]
