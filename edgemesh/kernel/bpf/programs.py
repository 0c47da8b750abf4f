"""Which BPF programs there are, what they are compiled with, and where they are attached.

A group is compiled, loaded and attached as a whole, and does without the others: what the
kernel refuses takes nothing else along.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgemesh.kernel.bpf.syscall import AttachType, ProgramType
from edgemesh.model.bpf_settings import BpfSettings

_NANOSECONDS = 1_000_000_000
# In a ring buffer, after its own header: struct event of bpf/edgemesh.h; a way's number in the
# gate, which takes the place of 8 bytes.
_EVENT_BYTES = 8 + 16
_OVERFLOW_BYTES = 8 + 8


@dataclass(frozen=True, slots=True)
class Program:
    """One function of a group.

    Args:
        function: its name in C, and of its pin.
        type: of the program.
        attach_type: how it is attached; the kernel may demand it at loading already.
        attach_to: ``cgroup`` for the directory of the settings, the name of a map of the group,
            or "" for a program that is only loaded.
    """

    function: str
    type: ProgramType
    attach_type: AttachType
    attach_to: str = "cgroup"


@dataclass(frozen=True, slots=True)
class Group:
    """What is compiled together.

    Args:
        name: of the group, as `Loaded.groups` has it.
        file: in ``bpf/``.
        programs: that it has.
        needs: groups that come before it, without which it is of no use. A map that it
            declares by the name of one of an earlier group, and alike, is that map.
        offsets: macros, and the members of kernel structs whose places they are to tell:
            ``{"OFF_TCP_SOCK_WRITE_SEQ": "tcp_sock.write_seq"}``.
        variants: further macros, tried in this order until the kernel takes the group: for
            helpers that not every kernel has.
    """

    name: str
    file: str
    programs: tuple[Program, ...]
    needs: tuple[str, ...] = ()
    offsets: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[Mapping[str, int], ...] = ({},)


def _sock_addr(function: str, attach_type: AttachType) -> Program:
    return Program(function, ProgramType.CGROUP_SOCK_ADDR, attach_type)


CONNECT = Group(
    "connect",
    "connect.bpf.c",
    (
        _sock_addr("mesh_connect4", AttachType.CGROUP_INET4_CONNECT),
        _sock_addr("mesh_connect6", AttachType.CGROUP_INET6_CONNECT),
        _sock_addr("mesh_getpeer4", AttachType.CGROUP_INET4_GETPEERNAME),
        _sock_addr("mesh_getpeer6", AttachType.CGROUP_INET6_GETPEERNAME),
        _sock_addr("mesh_sendmsg4", AttachType.CGROUP_UDP4_SENDMSG),
        _sock_addr("mesh_sendmsg6", AttachType.CGROUP_UDP6_SENDMSG),
        _sock_addr("mesh_recvmsg4", AttachType.CGROUP_UDP4_RECVMSG),
        _sock_addr("mesh_recvmsg6", AttachType.CGROUP_UDP6_RECVMSG),
        Program("mesh_release", ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_RELEASE),
    ),
    # bpf_set_retval() is of Linux 5.18.
    variants=({"SET_RETVAL": 1}, {"SET_RETVAL": 0}),
)

SOCKOPS = Group(
    "sockops",
    "sockops.bpf.c",
    (Program("mesh_sockops", ProgramType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),),
    needs=("connect",),
    offsets={"OFF_SOCK_SK_ERR": "sock.sk_err"},
)

GATE = Group(
    "gate",
    "gate.bpf.c",
    # Without a parser: Linux 5.13.
    (Program("gate_verdict", ProgramType.SK_SKB, AttachType.SK_SKB_VERDICT, "gate_sources"),),
    offsets={
        "OFF_TCP_SOCK_BYTES_ACKED": "tcp_sock.bytes_acked",
        "OFF_TCP_SOCK_COPIED_SEQ": "tcp_sock.copied_seq",
    },
)

# The gate once more, for flows whose requests are counted: what it costs is theirs alone.
OBSERVED_GATE = Group(
    "observed_gate",
    "gate.bpf.c",
    (
        Program(
            "observed_verdict",
            ProgramType.SK_SKB,
            AttachType.SK_SKB_VERDICT,
            "observed_sources",
        ),
    ),
    needs=("gate",),
    offsets=GATE.offsets,
    variants=({"OBSERVE": 1},),
)

GROUPS: tuple[Group, ...] = (CONNECT, SOCKOPS, GATE, OBSERVED_GATE)


def constants(settings: BpfSettings) -> dict[str, int]:
    """The macros that every group is compiled with: sizes and limits of the settings."""
    return {
        "BACKLOG_BYTES": settings.backlog_bytes,
        "MAX_ADDRESSES": settings.connect_addresses,
        "MAX_ENDPOINTS": settings.connect_endpoints,
        "MAX_SOCKETS": settings.connect_sockets,
        "MAX_CALLERS": settings.connect_callers,
        "MAX_NAMESPACES": settings.connect_namespaces,
        "MAX_CONVERSATIONS": settings.conversations,
        "CONVERSATION_IDLE_NS": round(settings.conversation_idle_seconds * _NANOSECONDS),
        "ABANDONED_NS": round(settings.abandoned_seconds * _NANOSECONDS),
        "EVENT_PAGES": _ring_pages(settings.connect_events, _EVENT_BYTES),
        "GATE_WAYS": 2 * settings.gate_flows,
        # A direction that has overflowed does so again only when the agent has noticed.
        "OBSERVED_PORTS": settings.observed_ports,
        "OBSERVED_ENDPOINTS": settings.observed_endpoints,
        "OBSERVED_STEPS": settings.observed_steps,
        "GATE_EVENT_PAGES": _ring_pages(2 * settings.gate_flows, _OVERFLOW_BYTES),
    }


def _ring_pages(records: int, record_bytes: int) -> int:
    """Pages of a ring buffer, which the kernel wants as a power of two."""
    pages = -(-records * record_bytes // mmap.PAGESIZE)
    return 1 << (pages - 1).bit_length()
