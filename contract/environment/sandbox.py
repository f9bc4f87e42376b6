"""A sandbox with only what a bundle's server needs, by bubblewrap: for its rehearsal, and for each replica.

Source: bwrap(1).
"""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

SCRATCH = "/scratch"  # a tmpfs, and all that can be written in it besides what is mounted so
_SCRATCH_BYTES = 16 << 20
# Libraries of the system, without its programs: there is no shell.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
# The last for the C library, which gives the heap large pages (`glibc.malloc.hugetlb`) where it can read that the kernel has some.
_SETTINGS = ("/etc/ld.so.cache", "/etc/localtime", "/sys/kernel/mm/transparent_hugepage")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try")
_LIMIT_S = 30
_MESSAGE_LENGTH = 300
SEALED = ("--remount-ro", "/")  # after the last mount


def bubblewrap() -> tuple[str, str]:
    """Return the path of `bwrap` and "", or "" and the reason why there is none."""
    found = shutil.which("bwrap")
    return (found, "") if found else ("", "bubblewrap is not on the PATH; install it")


def options(
    python: Path, readable: Iterable[Path], *, name: str, network: bool = False, writable: Iterable[Path] = ()
) -> list[str]:
    """Return bubblewrap's options, which `SEALED` completes.

    They give namespaces and a host name of its own, no capability, the environment of an interpreter, the system's libraries, some paths
    more, and a scratch directory.
    """
    words = ["--die-with-parent", *_NAMESPACES, "--hostname", name, *([] if network else ["--unshare-net"])]
    # The second mount is in place of the kernel's settings.
    words += ["--cap-drop", "ALL", "--proc", "/proc", "--tmpfs", "/proc/sys", "--remount-ro", "/proc/sys"]
    words += _mounts(python, readable)
    for device in _DEVICES:
        words += _bind("--dev-bind", Path(device))
    for path in writable:
        words += _bind("--bind", path)
    return [*words, "--perms", "1777", "--size", str(_SCRATCH_BYTES), "--tmpfs", SCRATCH, "--chdir", SCRATCH]


def problem_of(command: Sequence[str]) -> str:
    """Return why a command in a sandbox fails, in one line; "" if it works."""
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap does not work here: {error}"
    said = textwrap.shorten(tried.stderr, _MESSAGE_LENGTH, placeholder=" …")
    return f"bubblewrap does not work here: {said or tried.returncode}" if tried.returncode else ""


def _mounts(python: Path, readable: Iterable[Path]) -> list[str]:
    words: list[str] = []
    paths = [path for path in map(Path, (*_LIBRARIES, *_SETTINGS)) if path.exists()]
    for path in (*paths, _base(python), python.parents[1], *readable):
        if path in paths and path.is_dir() and path.is_symlink():  # /lib, where the system has merged it into /usr
            words += ["--symlink", str(path.readlink()), str(path)]
        else:
            words += _bind("--ro-bind", path)
    return words


def _bind(option: str, path: Path) -> list[str]:
    """Return the options that mount a path where it is, below directories that every user may pass, as bubblewrap's own are not."""
    parents = [word for parent in reversed(path.parents) for word in ("--dir", str(parent))]
    return [*parents, option, str(path), str(path)]


def _base(python: Path) -> Path:
    """Return what the environment's interpreter needs of its installation; the system's own has its modules among the libraries."""
    interpreter = python.resolve()
    return interpreter if interpreter.parents[1] == Path("/usr") else interpreter.parents[1]
