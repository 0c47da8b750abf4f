"""Which BPF programs there are, what they are compiled with, and where they are attached.

A group is compiled, loaded and attached as a whole, and does without the others: what the
kernel refuses takes nothing else along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgemesh.kernel.bpf.syscall import AttachType, ProgramType
from edgemesh.model.bpf_settings import BpfSettings


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
        needs: groups that come before it, and whose maps it declares as ``extern``.
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


GROUPS: tuple[Group, ...] = ()


def constants(settings: BpfSettings) -> dict[str, int]:
    """The macros that every group is compiled with: sizes and limits of the settings."""
    return {"BACKLOG_BYTES": settings.backlog_bytes}
