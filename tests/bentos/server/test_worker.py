"""The options of a worker, which BentoML's supervisor passes, or a fleet's launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bentos.worker import options
from contract.errors import ConfigurationError


def test_options_of_bentomls_supervisor_are_understood() -> None:
    words = [
        "bundle",
        "--fd",
        "3",
        "--service-name",
        "predictor",
        "--backlog",
        "2048",
        "--worker-id",
        "1",
        "--args",
        "{}",
    ]
    given = options([*words, "--ssl-keyfile-password", "--secret", "--timeout-keep-alive", "5", "--development-mode"])
    assert (given.bundle, given.fd, given.backlog) == (Path("bundle").absolute(), 3, 2048)
    assert (given.ssl_keyfile_password, given.timeout_keep_alive, given.grpc_fd) == ("--secret", 5, None)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--fd", "3", "--limit-concurrency", "5"], "'--limit-concurrency' is no option of a worker"),
        (["--fd", "3", "more"], "'more' has no value, or is no option of a worker"),
        (
            ["--fd", "3", "--ssl-keyfile", "key", "--ssl-certfile"],
            "'--ssl-certfile' has no value, or is no option of a worker",
        ),
        (["--fd", "3", "fd", "4"], "'fd' is no option of a worker"),
        (["--fd", ""], "--fd must be a whole number, not ''"),
        (["--fd", "3", "--backlog", "-1"], "--backlog must be a whole number, not '-1'"),
        ([], "a worker needs a socket: --fd"),
    ],
)
def test_worker_does_not_start_with_options_that_it_does_not_understand(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        options(["bundle", *words])
    assert str(raised.value) == problem


@pytest.mark.parametrize("words", [[], ["--fd", "3"]])
def test_worker_does_not_start_without_a_bundle(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="a worker needs a bundle, before its options"):
        options(words)


def test_numpy_is_whole_but_for_its_docstrings() -> None:
    words = (
        "import bentos, numpy; import numpy.typing as types; print(numpy.typing is types, types.NDArray[numpy.float32])"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True numpy.ndarray")
