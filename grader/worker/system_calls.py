"""A filter on Linux' system calls, for what Landlock does not cover (seccomp(2); needs no privileges, cannot
be undone).

It is a small program for the kernel's packet filter (BPF). A call that it refuses never begins, whichever
program or library makes it. Changes of a file's mode, owner, times and attributes do nothing and say that all
went well: honest code makes them in passing (shutil.copy), and would fail without a fault.
"""

import ctypes
import errno
import os
import struct
import sys

# Numbers by machine: (x86_64, aarch64). None: the machine has no such call. From 424 on they are the same
# everywhere.
DO_NOTHING = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
# Sockets of every family (TCP, UDP, Unix); socketpair stays, which connects to no other process. io_uring
# would make sockets and set attributes past this filter.
_SOCKET, _AF_UNIX = (41, 198), 1
NO_NETWORK = {"io_uring_setup": (425, 425), "io_uring_enter": (426, 426)}
# Other processes' memory, the machine's settings, and what only root may do, for graders that run as root.
REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
}
_PRLIMIT, _IOCTL = (302, 261), (16, 29)
_FILE_FLAGS = (0x40086602, 0x401C5820, 0x40087602)  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # the column above, AUDIT_ARCH_*
_X32 = 0x40000000  # numbers from here on are x86_64's second ABI: the same calls once more
# BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_LOAD, _EQUAL, _AT_LEAST, _RETURN = (0x20, 0x15, 0x35, 0x06)
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2


def _statement(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def program(machine: str, unix_sockets: bool = False) -> bytes:
    """The filter for a machine; ValueError where its numbers are not known. unix_sockets: let them be
    made."""
    if machine not in _MACHINES:
        raise ValueError(f"the machine is {machine!r}; numbers are known for {', '.join(_MACHINES)}")
    column, name = _MACHINES[machine]
    lines = [
        _statement(_LOAD, _MACHINE),
        _statement(_EQUAL, name, 1, 0),
        _statement(_RETURN, _ERRNO | errno.ENOSYS),  # a 32-bit program
        _statement(_LOAD, _NUMBER),
        _statement(_AT_LEAST, _X32, 0, 1),
        _statement(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    answers = ((DO_NOTHING, 0), (NO_NETWORK, errno.EACCES), (REFUSED, errno.EPERM))
    for number, answer in [(call[column], answer) for calls, answer in answers for call in calls.values()]:
        if number is not None:
            lines += [_statement(_EQUAL, number, 0, 1), _statement(_RETURN, _ERRNO | answer)]
    # Limits of this process only: the judge belongs to the same user. 0xFFFFFFFF is no family of sockets.
    family = _AF_UNIX if unix_sockets else 0xFFFFFFFF
    for number, only, answer in ((_PRLIMIT[column], 0, errno.EPERM), (_SOCKET[column], family, errno.EACCES)):
        lines += [
            _statement(_EQUAL, number, 0, 4),
            _statement(_LOAD, _ARGUMENTS),
            _statement(_EQUAL, only, 1, 0),
            _statement(_RETURN, _ERRNO | answer),
            _statement(_LOAD, _NUMBER),
        ]
    lines += [
        _statement(_EQUAL, _IOCTL[column], 0, 1 + 2 * len(_FILE_FLAGS)),
        _statement(_LOAD, _ARGUMENTS + 8),
    ]
    for request in _FILE_FLAGS:
        lines += [_statement(_EQUAL, request, 0, 1), _statement(_RETURN, _ERRNO | errno.EPERM)]
    return b"".join([*lines, _statement(_RETURN, _ALLOW)])


def restrict(unix_sockets: bool = False) -> bool:
    """Filter the calls of this thread and of all that it starts from here on; whether the kernel took the
    filter."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return False
    try:
        text = program(os.uname().machine, unix_sockets)
    except ValueError:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(text, len(text))
    described = ctypes.create_string_buffer(struct.pack("@HP", len(text) // 8, ctypes.addressof(buffer)))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return libc.prctl(_PR_SET_SECCOMP, _FILTER, described, 0, 0) == 0
