"""The system calls that a replica may not make, as a filter program for bubblewrap.

Source: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html, numbers from asm/unistd_64.h and asm-generic/unistd.h
"""

from __future__ import annotations

import errno
import os
import struct

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ, BPF_JMP|JSET, BPF_RET
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_X32 = 0x40000000  # the calls of another ABI, beside those of x86_64
_CLONE_THREAD = 0x00010000
_MSG_FASTOPEN = 0x20000000  # connects, like connect()

# Call -> its numbers on x86_64 and on aarch64.
_NOWHERE = 0xFFFFFFFF
_Numbers = dict[str, tuple[int, int]]
_DENIED: _Numbers = {
    # New processes: threads are all that a server needs.
    "fork": (57, _NOWHERE), "vfork": (58, _NOWHERE),
    # Other processes.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    # Mounts and namespaces.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    # The kernel's rarer parts, where its own faults are.
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
    "personality": (135, 92), "syslog": (103, 116),
}  # fmt: skip
# A replica only answers on the sockets that it inherits, which belong to the machine's network.
_OUTWARD: _Numbers = {"connect": (42, 203), "bind": (49, 200)}
_CLONE: _Numbers = {"clone": (56, 220)}
_CLONE3: _Numbers = {"clone3": (435, 435)}
_SEND: dict[str, tuple[int, int, int]] = {"sendto": (44, 206, 3), "sendmsg": (46, 211, 2), "sendmmsg": (307, 269, 3)}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def program(*, network: bool, machine: str = os.uname().machine) -> bytes:
    """Return the filter for a machine's architecture; with `network`, connections may be made. Empty where the numbers are unknown."""
    if machine not in _ARCHITECTURES:
        return b""
    column, architecture = _ARCHITECTURES[machine]
    code = [_statement(_LOAD, _ARCHITECTURE), _jump(_EQUAL, architecture, 1, 0), _statement(_RETURN, _KILL)]
    code += [_statement(_LOAD, _NUMBER), *_deny_if(_ANY_BIT, _X32, errno.ENOSYS)]
    for numbers in (_DENIED, {} if network else _OUTWARD):
        for entry in numbers.values():
            code += _deny_if(_EQUAL, entry[column], errno.EPERM)
    # Its flags are in memory, out of a filter's sight; the C library then calls clone().
    code += _deny_if(_EQUAL, _CLONE3["clone3"][column], errno.ENOSYS)
    code += _unless_argument(_CLONE["clone"][column], 0, _CLONE_THREAD, allowed=True)
    if not network:
        for on_x86, on_arm, index in _SEND.values():
            code += _unless_argument((on_x86, on_arm)[column], index, _MSG_FASTOPEN, allowed=False)
    return b"".join([*code, _statement(_RETURN, _ALLOW)])


def _statement(operation: int, value: int) -> bytes:
    return _jump(operation, value, 0, 0)


def _jump(operation: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("<HBBI", operation, if_true, if_false, value)


def _deny_if(test: int, value: int, number: int) -> list[bytes]:
    return [_jump(test, value, 0, 1), _statement(_RETURN, _ERROR | number)]


def _unless_argument(call: int, index: int, bit: int, *, allowed: bool) -> list[bytes]:
    """Allow or deny the call by a bit of one of its arguments; go on with the next rule for any other call."""
    verdicts = [_statement(_RETURN, _ALLOW), _statement(_RETURN, _ERROR | errno.EPERM)]
    return [
        _jump(_EQUAL, call, 0, 4),
        _statement(_LOAD, _ARGUMENTS + 8 * index),
        _jump(_ANY_BIT, bit, 0, 1),
        *(verdicts if allowed else reversed(verdicts)),
    ]
