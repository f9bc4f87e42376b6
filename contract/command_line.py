"""Arguments, exit codes and error messages of commands."""

from __future__ import annotations

import errno
import io
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from contract.errors import EXIT_USAGE, BulkheadError, ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from argparse import ArgumentParser

_TRANSIENT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_MISPLACED = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
# Of an error itself only: elsewhere these are said of locks, which are gone a moment later, and caught as a matter of course.
_ITS_OWN = (errno.EEXIST, errno.EISDIR)
_SIGNALLED = 128  # plus the signal's number: the exit code of a shell for a process that a signal ended


def parser(**options: Any) -> ArgumentParser:
    """Return a parser of arguments that ends with 64 (EX_USAGE) where they are wrong, which no caller retries; argparse's own ends with 2.

    A server, which parses none, would wait for `argparse` at each start.
    """
    import argparse

    class Parser(argparse.ArgumentParser):
        """A parser that says what is wrong in one line."""

        def error(self, message: str) -> NoReturn:
            """Print the message, and end the process."""
            tell(f"{self.prog}: {message}; see --help")
            sys.exit(EXIT_USAGE)

    return Parser(**options)


def run(command: Callable[[], int], *, stopped: str, as_json: bool = False, in_one_line: bool = False) -> int:
    """Run a command and return its exit code; print an expected failure on stderr.

    Ctrl-C ends it in one line. So does a reader of its output that has seen enough (`… | head`), without a word.

    Args:
        stopped: prefix of the error message, such as `fleet up stopped`.
        as_json: print the error on stdout too, for programs.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A table's values and our own "…" may hold letters that a terminal outside UTF-8 lacks; stderr escapes them by default.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _disks_explained():
            code = command()
            # Else the interpreter flushes at its end, and complains about a full disk or a closed pipe.
            if sys.stdout is not None:
                sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        tell(f"{stopped}: interrupted")
        _print_last("", sys.stdout)
        return _SIGNALLED + signal.SIGINT
    except BrokenPipeError:
        if not _is_unread():
            raise
        _print_last("", sys.stdout)
        return _SIGNALLED + signal.SIGPIPE
    except BulkheadError as error:
        message = " ".join(str(error).split()) if in_one_line else str(error)
        tell(f"{stopped}: {message}")
        # On stdout even though it is an error: a program that asked for JSON reads that, whatever the exit code.
        content = {"error": {"code": error.exit_code, "message": str(error)}}
        _print_last(json.dumps(content) + "\n" if as_json else "", sys.stdout)
        return error.exit_code


def tell(line: str) -> None:
    """Print a line on stderr, or drop it where nobody reads it or its disk is full: no command ends, or gets another code, for that."""
    _print_last(f"{line}\n", sys.stderr)


def end(code: int) -> NoReturn:
    """End the process with this code at once, without handlers and destructors, once its outputs are flushed as far as they can be."""
    for stream in (sys.stdout, sys.stderr):
        _print_last("", stream)
    os._exit(code)


def _print_last(text: str, stream: TextIO | None) -> None:
    """Print the rest of a stream; drop it, and all that may follow, where that fails."""
    if stream is None:  # the command was started without it
        return
    try:
        print(text, end="", file=stream, flush=True)
    except OSError:
        # Else the interpreter tries once more at its end, complains, and takes an exit code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_unread() -> bool:
    """Return whether stdout is a pipe without a reader: a broken pipe may also be a server's."""
    if sys.stdout is None:
        return False
    asked = select.poll()
    asked.register(sys.stdout, 0)  # an error is reported unasked
    return any(found & select.POLLERR for _, found in asked.poll(0))


@contextmanager
def _disks_explained() -> Iterator[None]:
    """Turn a full, failing or read-only disk, or an impossible path, into the project's error, whichever library noticed it.

    A full or failing disk may recover, so a retry can help; a refusal is final. Other failures pass through.
    """
    try:
        yield
    except BulkheadError:
        raise
    except Exception as error:
        found = _failure(error)
        if found is None:
            raise
        raise found from error


def _failure(error: BaseException) -> BulkheadError | None:
    for cause in _causes(error):
        text = " ".join(str(cause).split())
        for number in (*_TRANSIENT, *_REFUSED, *_MISPLACED):
            if number in _ITS_OWN and cause not in (error, error.__cause__):
                continue
            # Libraries written in C, C++ and Rust raise types of their own, with the operating system's text but without its number.
            is_said = number not in _ITS_OWN and os.strerror(number) in text
            if getattr(cause, "errno", None) == number or is_said:
                place = getattr(cause, "filename2", None) or getattr(cause, "filename", None)
                where = f"{place}: {os.strerror(number)}" if place else text[:300]
                return _of(number, where.removeprefix(f"[Errno {number}] "))
    return None


def _of(number: int, reason: str) -> BulkheadError:
    if number in _TRANSIENT:
        return UnavailableError(f"the disk is full or failing: {reason}; free space or repair it, then try again")
    if number in _MISPLACED:
        return ConfigurationError(f"a path cannot be used: {reason}; correct the setting that names it")
    if number == errno.EROFS:
        return ConfigurationError(f"{reason}; make it writable, or name another path")
    return ConfigurationError(f"user {os.geteuid()} has no permission: {reason}; change its owner or mode, or the path")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    while error is not None:
        yield error
        # As a traceback shows them: `from None` hides the context.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
