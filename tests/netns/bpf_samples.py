"""Small BPF programs to load, and where to load them: a cgroup and pins of the test's own."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgemesh.kernel.bpf.loader import Loading, unload
from edgemesh.kernel.bpf.pins import CURRENT, LINKS, MAPS, PROGRAMS
from edgemesh.kernel.bpf.programs import Group, Program
from edgemesh.kernel.bpf.syscall import (
    AttachType,
    ProgramType,
    link_create,
    link_detach,
    open_pinned,
    pin,
    prog_attach,
    prog_detach,
    prog_query,
)
from edgemesh.kernel.mounts import mount_point
from edgemesh.model.bpf_settings import BpfSettings

COUNTING = """
#include <uapi/linux/bpf.h>
BPF_ARRAY(connects, u64, 1);
BPF_RINGBUF_OUTPUT(ports, 1);
int count_connects(struct bpf_sock_addr *call)
{
    u32 zero = 0;
    u64 *count = connects.lookup(&zero);
    u32 port = bpf_ntohs(call->user_port);
    if (count)
        __sync_fetch_and_add(count, 1);
    ports.ringbuf_output(&port, sizeof(port), 0);
    return 1;
}
"""

GATING = """
#include <uapi/linux/bpf.h>
BPF_ARRAY(connects, u64, 1);
BPF_SOCKHASH(sources, u64, 16);
int pass_all(struct __sk_buff *skb)
{
    u32 zero = 0;
    u64 *count = connects.lookup(&zero);
    if (count)
        __sync_fetch_and_add(count, OFF_WRITE_SEQ > 0 ? 1000 : 0);
    return SK_PASS;
}
"""

# The verifier does not allow to follow a pointer that may be null.
REFUSED = """
#include <uapi/linux/bpf.h>
BPF_HASH(table, u32, u64, 16);
int refused(struct bpf_sock_addr *call)
{
    u32 zero = 0;
    u64 *value = table.lookup(&zero);
    return *value ? 1 : 0;
}
"""

CONNECT4 = (ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT)


def counting(folder: Path) -> Group:
    """Counts connect() calls and tells their ports."""
    return Group(
        "counting", _file(folder, "counting", COUNTING), (Program("count_connects", *CONNECT4),)
    )


def gating(folder: Path) -> Group:
    """A verdict on a map, which shares a map with `counting`."""
    verdict = Program("pass_all", ProgramType.SK_SKB, AttachType.SK_SKB_VERDICT, "sources")
    return Group(
        "gating",
        _file(folder, "gating", GATING),
        (verdict,),
        needs=("counting",),
        offsets={"OFF_WRITE_SEQ": "tcp_sock.write_seq"},
    )


def refused(folder: Path) -> Group:
    """The kernel takes it never."""
    return Group("refused", _file(folder, "refused", REFUSED), (Program("refused", *CONNECT4),))


def _file(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.bpf.c"
    path.write_text(text)
    return str(path)


@contextmanager
def bpf_place() -> Iterator[BpfSettings]:
    """Settings with a cgroup and a directory for pins of their own, both removed at the end."""
    root = mount_point("cgroup2")
    assert root is not None
    name = f"bt{uuid.uuid4().hex[:10]}"
    cgroup = root / name
    cgroup.mkdir()
    settings = BpfSettings(directory=Path("/sys/fs/bpf", name), cgroup=str(cgroup))
    try:
        yield settings
    finally:
        unload(settings)
        cgroup.rmdir()


@contextmanager
def detached(place: BpfSettings, program: Program) -> Iterator[None]:
    """Somebody has taken a program away from where it was attached; it is put back at the end."""
    pins = place.directory / CURRENT
    link_pin = pins / LINKS / program.function
    with ExitStack() as opened:

        def keep(fd: int) -> int:
            opened.callback(os.close, fd)
            return fd

        function = keep(open_pinned(pins / PROGRAMS / program.function))
        if program.attach_to == "cgroup":
            target = keep(os.open(place.cgroup, os.O_RDONLY | os.O_DIRECTORY))
        else:
            target = keep(open_pinned(pins / MAPS / program.attach_to))
        if not link_pin.exists():  # Before 6.10 there are no links to maps.
            prog_detach(function, target, program.attach_type)
            opened.callback(prog_attach, function, target, program.attach_type)
            yield
            return
        link_detach(keep(open_pinned(link_pin)))
        try:
            yield
        finally:
            link = keep(link_create(function, target, program.attach_type))
            link_pin.unlink()
            pin(link, link_pin)


def only(*groups: Group) -> Loading:
    """Load just these."""
    return Loading(groups=groups)


def connect_in(cgroup: str) -> int:
    """Call connect() from within a cgroup to a port where somebody listens; the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
        enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
        argv = ["sh", "-c", enter, cgroup, sys.executable, "-c", program, str(port)]
        subprocess.run(argv, check=True)
    return port


def attached(cgroup: str) -> tuple[int, ...]:
    """The programs that are attached for connect() in a cgroup."""
    directory = os.open(cgroup, os.O_RDONLY)
    try:
        return prog_query(directory, AttachType.CGROUP_INET4_CONNECT)
    finally:
        os.close(directory)


def number(value: bytes | None) -> int:
    """A u64 of a map."""
    assert value is not None
    return int(struct.unpack("=Q", value)[0])
