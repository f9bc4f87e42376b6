"""What a shell in a replica could try: each attempt is made once, and its outcome printed as JSON, null for a refusal.

Run as the command of the launcher: standard library only, and nothing outlasts an attempt that succeeds. The first argument is JSON: what
the test has set up for the attempts. The numbers of sockets that follow are not used.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
_SEIZE, _NEW_USER, _NEW_MOUNTS = 0x4206, 0x10000000, 0x00020000
_LIMIT_S = 2.0
_CALLS = {"x86_64": {"bpf": 321, "io_uring_setup": 425, "userfaultfd": 323, "keyctl": 250}}


class RefusedError(Exception):
    """The attempt was refused."""


def called(result: int) -> int:
    """Return what a C function returned; raise for a failure."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def read(path: str) -> str:
    """Read a file, or list a directory."""
    place = Path(path)
    return str([*place.iterdir()])[:80] if place.is_dir() else place.read_bytes()[:80].hex()


def append(path: str) -> str:
    """Open a file for writing, and write nothing."""
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    return "opened"


def create(directory: str) -> str:
    """Make a file without a name, which ends with its descriptor."""
    os.close(os.open(directory, os.O_WRONLY | os.O_TMPFILE))
    return "created"


def memory_of(pid: int) -> str:
    """Read the first mapped bytes of another process."""
    first = Path(f"/proc/{pid}/maps").read_text().split("-")[0]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(int(first, 16))
        return memory.read(16).hex()


def memory_by_call(pid: int) -> str:
    """Read the same by process_vm_readv."""
    address = ctypes.c_long.in_dll(LIBC, "environ").value
    buffer = ctypes.create_string_buffer(8)
    local, remote = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8), (ctypes.c_void_p * 2)(address, 8)
    try:
        called(LIBC.process_vm_readv(pid, local, 1, remote, 1, 0))
    except OSError as error:
        if error.strerror != "Bad address":  # it may read there, but nothing is mapped
            raise
    return "read"


def trace(pid: int) -> str:
    """Attach to a process without stopping it; the end of this one detaches."""
    called(LIBC.ptrace(_SEIZE, pid, 0, 0))
    return "attached"


def others() -> str:
    """Find processes other than this one and its sandbox's first."""
    found = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()} - {os.getpid(), 1}
    if not found:
        raise RefusedError
    return str(sorted(found)[:9])


def connect(family: int, address: Any, kind: int = socket.SOCK_STREAM) -> str:
    """Connect a new socket."""
    with socket.socket(family, kind) as caller:
        caller.settimeout(_LIMIT_S)
        caller.connect(address)
    return "connected"


def bind() -> str:
    """Bind a new socket to any free port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
    return "bound"


def run(*command: str) -> str:
    """Run a program."""
    return subprocess.run(command, capture_output=True, check=True, timeout=10).stdout.decode()[:80] or "ran"


def fork() -> str:
    """Start another process."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return "forked"


def in_child(act: Callable[[], object]) -> str:
    """Do what would change this process in another one, or here where there can be none."""
    try:
        child = os.fork()
    except OSError:
        act()
        return "done"
    if not child:
        try:
            act()
        except (OSError, ValueError, RefusedError):
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise RefusedError
    return "done"


def mount() -> None:
    """Mount a tmpfs, in mounts of its own where that is possible."""
    called(LIBC.unshare(_NEW_MOUNTS))
    called(LIBC.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None))  # private, so that nobody else sees it
    called(LIBC.mount(b"none", b"/proc", b"tmpfs", 0, None))


def node() -> None:
    """Make a device."""
    path = Path(os.environ.get("TMPDIR", "/tmp"), f"device-{os.getpid()}")
    os.mknod(path, 0o020600, os.makedev(1, 3))
    path.unlink()


def shared_memory(key: int) -> str:
    """Open a System V segment by its key."""
    return str(called(LIBC.shmget(key, 0, 0)))


def environment(allowed: list[str]) -> str:
    """Find variables that a server does not need."""
    found = set(os.environ) - set(allowed)
    if not found:
        raise RefusedError
    return str(sorted(found))


def attempts(given: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each attempt with its name."""
    for name, path in given["secrets"].items():
        yield f"read {name}", lambda path=path: read(path)
        yield f"write {name}", lambda path=path: append(path)
    for path in given["directories"]:
        yield f"create a file in {path}", lambda path=path: create(path)
    pid, port = given["pid"], given["port"]
    yield "see other processes", others
    for name in ("environ", "cmdline", "cwd/.", "root/.", "fd"):
        yield f"read /proc/PID/{name} of another process", lambda name=name: read(f"/proc/{pid}/{name}")
    yield "read the memory of another process", lambda: memory_of(pid)
    yield "read it by process_vm_readv", lambda: memory_by_call(pid)
    yield "trace another process", lambda: trace(pid)
    yield "signal another process", lambda: os.kill(pid, 0) or "signalled"
    yield "signal every process", lambda: os.kill(-1, 0) or "signalled"
    yield "open another process", lambda: os.close(os.pidfd_open(pid)) or "opened"
    yield "lower another process's priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 1) or "lowered"
    yield "connect to a port of 127.0.0.1", lambda: connect(socket.AF_INET, ("127.0.0.1", port))
    yield "connect to this machine's other address", lambda: connect(socket.AF_INET, (given["address"], port))
    yield "reach another machine", lambda: connect(socket.AF_INET, ("192.0.2.1", 9), socket.SOCK_DGRAM)
    yield "reach the metadata service", lambda: connect(socket.AF_INET, ("169.254.169.254", 80))
    yield "reach it over UDP", lambda: connect(socket.AF_INET, ("169.254.169.254", 80), socket.SOCK_DGRAM)
    yield "resolve a name by the machine's resolver", lambda: connect(socket.AF_INET, ("127.0.0.53", 53))
    yield "connect to an abstract Unix socket", lambda: connect(socket.AF_UNIX, "\0" + given["abstract"])
    yield "connect to a Unix socket", lambda: connect(socket.AF_UNIX, given["unix"])
    yield "find the interfaces", lambda: next(name for _, name in socket.if_nameindex() if name != "lo")
    yield "bind a port", bind
    yield "find more in the environment", lambda: environment(given["environment"])
    yield "open shared memory", lambda: shared_memory(given["key"])
    yield "start a process", fork
    yield "run a shell", lambda: run("/bin/sh", "-c", "id")
    yield "run a shell of /usr/bin", lambda: run("/usr/bin/env", "sh", "-c", "id")
    yield "become root", lambda: in_child(lambda: os.setuid(0))
    yield "become another user", lambda: in_child(lambda: os.setresuid(4321, 4321, 4321))
    yield "become another group", lambda: in_child(lambda: os.setgid(4321))
    yield "join a group", lambda: in_child(lambda: os.setgroups([4321]))
    yield "mount", lambda: in_child(mount)
    yield "make a user namespace", lambda: in_child(lambda: called(LIBC.unshare(_NEW_USER)))
    yield "make other namespaces", lambda: in_child(lambda: called(LIBC.unshare(_NEW_MOUNTS)))
    yield "enter the namespaces of another process", lambda: in_child(lambda: enter(f"/proc/{pid}/ns/mnt"))
    yield "change the root", lambda: in_child(lambda: os.chroot("/"))
    yield "make a device", lambda: node()
    yield "change the host's name", lambda: socket.sethostname(socket.gethostname()) or "changed"
    yield "open a kernel setting for writing", lambda: append("/proc/sys/kernel/core_pattern")
    yield "open sysrq-trigger for writing", lambda: append("/proc/sysrq-trigger")
    yield "read the kernel's log", lambda: str(called(LIBC.klogctl(10, None, 0)))
    yield "raise the limit of open files", lambda: in_child(more_files)
    for name, number in _CALLS.get(os.uname().machine, {}).items():
        yield f"call {name}", lambda number=number: reach(number)


def reach(number: int) -> str:
    """Make a system call with arguments that mean nothing; it is refused if it is not even looked at."""
    LIBC.syscall(number, 1, 0, 0, 0, 0)
    if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        raise RefusedError
    return "reached"


def enter(path: str) -> None:
    """Enter a namespace."""
    descriptor = os.open(path, os.O_RDONLY)
    called(LIBC.unshare(_NEW_MOUNTS))
    called(LIBC.setns(descriptor, 0))


def more_files() -> None:
    """Raise the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Make every attempt and return the outcomes, with what the process is."""
    outcomes: dict[str, str | None] = {}
    for name, attempt in attempts(given):
        try:
            outcomes[name] = str(attempt())
        except (OSError, ValueError, RefusedError, subprocess.SubprocessError, StopIteration):
            outcomes[name] = None
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return {
        "outcomes": outcomes,
        "status": {name: status[name].split() for name in status},
        "mounts": {
            fields[1].encode().decode("unicode_escape").encode("latin-1").decode(): fields[3] for fields in mounts
        },
        "environment": dict(os.environ),
        "signals": [number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
