"""bpf(2) by libc's syscall(): programs, links and pins by descriptor; maps are in ``Map``.

No bcc and no libbpf: the agent that reads maps stays small (bcc alone costs 60 MiB).
Source: bpf(2), include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

# asm/unistd.h; all architectures since riscv share arm64's numbers.
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "armv7l": 386, "i686": 357}
_NUMBER = _NUMBERS.get(platform.machine())
_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
_SYSCALL.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)
_SYSCALL.restype = ctypes.c_long
_NAME_BYTES = 16  # BPF_OBJ_NAME_LEN
_MAX_QUERIED = 64  # BPF_CGROUP_MAX_PROGS
_QUERY_EFFECTIVE = 1  # BPF_F_QUERY_EFFECTIVE


class Command(IntEnum):
    """enum bpf_cmd, as far as it is used."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_ATTACH = 8
    PROG_DETACH = 9
    PROG_GET_NEXT_ID = 11
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_GET_FD_BY_ID = 30
    LINK_GET_NEXT_ID = 31
    LINK_DETACH = 34


class ProgramType(IntEnum):
    """enum bpf_prog_type, as far as it is used."""

    SOCKET_FILTER = 1
    CGROUP_SOCK = 9
    SOCK_OPS = 13
    SK_SKB = 14
    SK_MSG = 16
    CGROUP_SOCK_ADDR = 18


class AttachType(IntEnum):
    """enum bpf_attach_type, as far as it is used."""

    CGROUP_SOCK_OPS = 3
    SK_SKB_STREAM_PARSER = 4
    SK_SKB_STREAM_VERDICT = 5
    SK_MSG_VERDICT = 7
    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_UDP4_SENDMSG = 14
    CGROUP_UDP6_SENDMSG = 15
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    CGROUP_INET_SOCK_RELEASE = 34
    SK_SKB_VERDICT = 38


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel tells about a map; sizes in bytes, of one CPU's value."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel tells about a program; ``loaded_at`` in seconds since boot."""

    type: int
    id: int
    tag: str
    loaded_at: float
    map_ids: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the kernel tells about a link.

    Args:
        target: the cgroup's inode number, or the map's id.
    """

    type: int
    id: int
    program_id: int
    target: int
    attach_type: int


def bpf(command: Command, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """Make the system call; what the kernel writes back is in ``attributes``.

    Args:
        command: which call.
        attributes: a packed ``union bpf_attr``, or the beginning of one.

    Returns:
        A descriptor or 0, as the command has it.

    Raises:
        OSError: with the kernel's errno; ENOSYS on an architecture that is not known.
    """
    if _NUMBER is None:
        raise OSError(errno.ENOSYS, f"bpf(2) has no known number on {platform.machine()}")
    result: int = _SYSCALL(_NUMBER, command, attributes, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), f"bpf {command.name}")
    return result


def packed(layout: str, *values: int | bytes) -> ctypes.Array[ctypes.c_char]:
    """Attributes for `bpf`: a buffer of its own, of just the bytes that the layout takes."""
    data = struct.pack(layout, *values)
    return ctypes.create_string_buffer(data, len(data))


def address(data: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Where the bytes lie; the caller keeps the object alive for as long as that is used."""
    pointer = ctypes.c_char_p(data) if isinstance(data, bytes) else data
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def pin(fd: int, path: Path) -> None:
    """Give a map, program or link a name in a BPF file system.

    Raises:
        OSError: EEXIST, or EPERM where ``path`` lies in no BPF file system.
    """
    name = os.fsencode(path) + b"\0"
    bpf(Command.OBJ_PIN, packed("=QII", address(name), fd, 0))


def open_pinned(path: Path) -> int:
    """Open what is pinned there; the descriptor is the caller's.

    Raises:
        OSError: ENOENT, or EACCES where it is no pin.
    """
    name = os.fsencode(path) + b"\0"
    return bpf(Command.OBJ_GET, packed("=QII", address(name), 0, 0))


def link_create(program_fd: int, target_fd: int, attach_type: int) -> int:
    """Attach a program by a link, which detaches it when its last descriptor and pin are gone.

    Args:
        program_fd: of the program.
        target_fd: of a cgroup directory (kernel 5.7) or of a sockmap (kernel 6.10).
        attach_type: see AttachType.

    Returns:
        The link's descriptor, which is the caller's.

    Raises:
        OSError: EINVAL where the kernel has no such link; EPERM where a program that allows no
            other is attached to the cgroup or above it.
    """
    return bpf(Command.LINK_CREATE, packed("=IIII", program_fd, target_fd, attach_type, 0))


def link_detach(fd: int) -> None:
    """Detach a link's program at once, while the link itself lives on (kernel 5.9).

    Raises:
        OSError: EOPNOTSUPP for kinds of links that cannot, as those of sockmaps.
    """
    bpf(Command.LINK_DETACH, packed("=I", fd))


def prog_attach(program_fd: int, target_fd: int, attach_type: int, flags: int = 0) -> None:
    """Attach a program to a cgroup or a sockmap, to stay until it is detached.

    Raises:
        OSError: EBUSY where a sockmap has another program.
    """
    bpf(Command.PROG_ATTACH, packed("=IIIII", target_fd, program_fd, attach_type, flags, 0))


def prog_detach(program_fd: int, target_fd: int, attach_type: int) -> None:
    """Undo `prog_attach`.

    Raises:
        OSError: ENOENT where the program is not attached.
    """
    bpf(Command.PROG_DETACH, packed("=IIIII", target_fd, program_fd, attach_type, 0, 0))


def prog_query(target_fd: int, attach_type: int, *, effective: bool = False) -> tuple[int, ...]:
    """The ids of the programs that are attached.

    Args:
        target_fd: of a cgroup directory, or of a sockmap.
        attach_type: see AttachType.
        effective: those that run there, which includes inherited ones.

    Raises:
        OSError: EINVAL where the kernel does not know the type.
    """
    return _query(target_fd, attach_type, _QUERY_EFFECTIVE if effective else 0)[1]


def attach_flags(target_fd: int, attach_type: int) -> int:
    """How programs of a type are attached to a cgroup: BPF_F_ALLOW_OVERRIDE 1, _MULTI 2.

    0 means that no program is attached, or exclusively one: see `prog_query`.
    """
    return _query(target_fd, attach_type, 0)[0]


def _query(target_fd: int, attach_type: int, flags: int) -> tuple[int, tuple[int, ...]]:
    ids = ctypes.create_string_buffer(4 * _MAX_QUERIED)
    attributes = packed(
        "=IIIIQIIQ", target_fd, attach_type, flags, 0, address(ids), _MAX_QUERIED, 0, 0
    )
    bpf(Command.PROG_QUERY, attributes)
    found, count = (
        struct.unpack_from("=I", attributes, 12)[0],
        struct.unpack_from("=I", attributes, 24)[0],
    )
    return found, struct.unpack_from(f"={count}I", ids)


def prog_fd_by_id(program_id: int) -> int:
    """A descriptor of the program with this id, which is the caller's.

    Raises:
        OSError: ENOENT where it is gone.
    """
    return bpf(Command.PROG_GET_FD_BY_ID, packed("=III", program_id, 0, 0))


def link_fd_by_id(link_id: int) -> int:
    """A descriptor of the link with this id, which is the caller's.

    Raises:
        OSError: ENOENT where it is gone.
    """
    return bpf(Command.LINK_GET_FD_BY_ID, packed("=III", link_id, 0, 0))


def prog_ids() -> Iterator[int]:
    """The ids of all programs of this host, ascending."""
    return _ids(Command.PROG_GET_NEXT_ID)


def link_ids() -> Iterator[int]:
    """The ids of all links of this host, ascending."""
    return _ids(Command.LINK_GET_NEXT_ID)


def _ids(command: Command) -> Iterator[int]:
    last = 0
    while True:
        attributes = packed("=III", last, 0, 0)
        try:
            bpf(command, attributes)
        except FileNotFoundError:
            return
        (last,) = struct.unpack_from("=I", attributes, 4)
        yield last


def map_info(fd: int) -> MapInfo:
    """Look at a map.

    Raises:
        OSError: EINVAL where the descriptor is none of BPF's.
    """
    data = _info(fd, 40)
    kind, id_, key_size, value_size, max_entries, flags = struct.unpack_from("=6I", data)
    return MapInfo(kind, id_, key_size, value_size, max_entries, flags, _text(data, 24))


def prog_info(fd: int) -> ProgramInfo:
    """Look at a program.

    Raises:
        OSError: EINVAL where the descriptor is none of BPF's.
    """
    count = struct.unpack_from("=I", _info(fd, 80), 52)[0]
    ids = ctypes.create_string_buffer(4 * count or 4)
    # In the second look the kernel fills in as many map ids as it is told there is room for.
    data = _info(fd, 80, struct.pack("=52xIQ16x", count, address(ids)))
    kind, id_ = struct.unpack_from("=II", data)
    (loaded,) = struct.unpack_from("=Q", data, 40)
    maps = struct.unpack_from(f"={count}I", ids)
    return ProgramInfo(kind, id_, data[8:16].hex(), loaded / 1e9, maps, _text(data, 64))


def link_info(fd: int) -> LinkInfo:
    """Look at a link.

    Raises:
        OSError: EINVAL where the descriptor is none of BPF's.
    """
    data = _info(fd, 32)
    kind, id_, program_id = struct.unpack_from("=3I", data)
    if kind == 3:  # BPF_LINK_TYPE_CGROUP
        target, attach_type = struct.unpack_from("=QI", data, 16)
    else:
        target, attach_type = struct.unpack_from("=II", data, 16)
    return LinkInfo(kind, id_, program_id, target, attach_type)


def _info(fd: int, size: int, given: bytes = b"") -> bytes:
    # The kernel writes as much as there is room for, and leaves alone what it does not know.
    info = ctypes.create_string_buffer(given, size)
    bpf(Command.OBJ_GET_INFO_BY_FD, packed("=IIQ", fd, size, address(info)))
    return info.raw


def _text(data: bytes, offset: int) -> str:
    return data[offset : offset + _NAME_BYTES].partition(b"\0")[0].decode("ascii", "replace")
