"""BPF programs are loaded as a whole, once, and leave nothing behind."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from bpf_samples import attached, bpf_place, connect_in, counting, gating, number, only, refused

from edgemesh.kernel.bpf.loader import Loading, load, loaded, unload
from edgemesh.kernel.bpf.ringbuf import RingBuffer
from edgemesh.kernel.bpf.syscall import (
    AttachType,
    link_fd_by_id,
    link_ids,
    link_info,
    open_pinned,
    prog_attach,
)
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root


@pytest.fixture
def place() -> Iterator[BpfSettings]:
    with bpf_place() as settings:
        yield settings


def test_a_loaded_program_does_its_work(place: BpfSettings, tmp_path: Path) -> None:
    result = load(place, owner="operator", loading=only(counting(tmp_path)))
    connect_in(place.cgroup)
    with result.map("connects") as connects:
        assert number(connects.lookup(bytes(4))) == 1


def test_a_program_sees_no_call_from_outside_its_cgroup(place: BpfSettings, tmp_path: Path) -> None:
    result = load(place, owner="operator", loading=only(counting(tmp_path)))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    with result.map("connects") as connects:
        assert number(connects.lookup(bytes(4))) == 0


def test_records_of_a_ring_buffer_are_read_in_order_and_once(
    place: BpfSettings, tmp_path: Path
) -> None:
    result = load(place, owner="operator", loading=only(counting(tmp_path)))
    called = [connect_in(place.cgroup) for _ in range(3)]
    with RingBuffer(result.map("ports")) as ring:
        assert [struct.unpack("=I", record)[0] for record in ring.records()] == called
        assert list(ring.records()) == []


def test_a_ring_buffer_is_read_around_its_end(place: BpfSettings, tmp_path: Path) -> None:
    # Each record takes 4104 bytes of 8192.
    group = counting(tmp_path)
    source = Path(group.file)
    text = source.read_text().replace("ports, 1)", "ports, 2)")
    text = text.replace("sizeof(port), 0);", "sizeof(port), 0); BIG")
    big = (
        "struct big *b = ports.ringbuf_reserve(4096); if (b) { b->first = port; b->last = port;"
        " ports.ringbuf_submit(b, 0); }"
    )
    text = text.replace("ports.ringbuf_output(&port, sizeof(port), 0); BIG", big)
    text = text.replace(
        "int count_", "struct big { u32 first; u32 pad[1022]; u32 last; };\nint count_"
    )
    source.write_text(text)
    result = load(place, owner="operator", loading=only(group))
    with RingBuffer(result.map("ports")) as ring:
        for _ in range(5):
            port = connect_in(place.cgroup)
            (record,) = ring.records()
            assert struct.unpack("=I4088xI", record) == (port, port)


def test_a_record_that_was_discarded_is_passed_over(place: BpfSettings, tmp_path: Path) -> None:
    group = counting(tmp_path)
    source = Path(group.file)
    discarding = (
        "u32 *reserved = ports.ringbuf_reserve(sizeof(u32));"
        " if (reserved) ports.ringbuf_discard(reserved, 0);"
    )
    source.write_text(source.read_text().replace("u32 zero", f"{discarding} u32 zero"))
    result = load(place, owner="operator", loading=only(group))
    called = [connect_in(place.cgroup) for _ in range(2)]
    with RingBuffer(result.map("ports")) as ring:
        assert [struct.unpack("=I", record)[0] for record in ring.records()] == called


def test_a_group_that_the_kernel_refuses_leaves_the_others(
    place: BpfSettings, tmp_path: Path
) -> None:
    result = load(place, owner="operator", loading=only(refused(tmp_path), counting(tmp_path)))
    assert result.groups["counting"] == ""
    assert result.groups["refused"] == (
        "the kernel refuses the program refused: R0 invalid mem access 'map_value_or_null'"
    )
    assert len(attached(place.cgroup)) == 1


def test_a_group_that_needs_a_refused_one_is_left_out(place: BpfSettings, tmp_path: Path) -> None:
    needy = replace(counting(tmp_path), needs=("refused",))
    with pytest.raises(OperatorError, match="BPF does not work here: the kernel refuses"):
        load(place, owner="operator", loading=only(refused(tmp_path), needy))
    assert not place.directory.exists()


def test_a_file_that_does_not_compile_is_told_by_its_first_error(
    place: BpfSettings, tmp_path: Path
) -> None:
    group = counting(tmp_path)
    Path(group.file).write_text("int count_connects(void *call) { return missing; }")
    with pytest.raises(OperatorError, match=r"does not compile: .*identifier 'missing'"):
        load(place, owner="operator", loading=only(group))


def test_a_function_that_is_not_there_is_named(place: BpfSettings, tmp_path: Path) -> None:
    group = counting(tmp_path)
    program = replace(group.programs[0], function="absent")
    with pytest.raises(OperatorError, match="there is no function absent"):
        load(place, owner="operator", loading=only(replace(group, programs=(program,))))


def test_a_member_that_the_kernel_lacks_is_named(place: BpfSettings, tmp_path: Path) -> None:
    group = replace(counting(tmp_path), offsets={"OFF": "tcp_sock.nothing"})
    with pytest.raises(OperatorError, match=r"tcp_sock\.nothing: there is no member nothing"):
        load(place, owner="operator", loading=only(group))


def test_the_first_variant_that_is_taken_is_loaded(place: BpfSettings, tmp_path: Path) -> None:
    group = counting(tmp_path)
    source = Path(group.file)
    source.write_text(source.read_text().replace("u32 zero", "VARIANT; u32 zero"))
    variants = ({"VARIANT": 1}, {"OTHER": 1}, {"VARIANT": 2})
    steps: list[str] = []
    loading = Loading((replace(group, variants=variants),), told=steps.append)
    assert load(place, owner="operator", loading=loading).groups == {"counting": ""}
    # The second one lacks a macro.
    assert steps[0].count("compiled counting") == 1


def test_maps_of_one_name_are_one_map_in_several_groups(place: BpfSettings, tmp_path: Path) -> None:
    result = load(place, owner="operator", loading=only(counting(tmp_path), gating(tmp_path)))
    with socket.create_server(("127.0.0.1", 0)) as server, result.map("sources") as sources:
        client = socket.create_connection(server.getsockname())
        taken, _ = server.accept()
        with client, taken, result.map("connects") as connects:
            sources.update(struct.pack("=Q", 1), struct.pack("=I", taken.fileno()))
            client.sendall(b"through the verdict")
            assert taken.recv(100) == b"through the verdict"
            assert number(connects.lookup(bytes(4))) == 1000


def test_a_map_that_is_declared_in_two_ways_is_refused(place: BpfSettings, tmp_path: Path) -> None:
    other = gating(tmp_path)
    text = Path(other.file).read_text()
    Path(other.file).write_text(text.replace("connects, u64, 1)", "connects, u64, 2)"))
    result = load(place, owner="operator", loading=only(counting(tmp_path), other))
    assert result.groups == {"counting": "", "gating": "the map connects is declared in two ways"}


def test_a_second_load_names_the_first(place: BpfSettings, tmp_path: Path) -> None:
    loading = only(counting(tmp_path))
    load(place, owner="operator", loading=loading)
    told = re.escape(f"{place.directory}: BPF programs were loaded already: ")
    with pytest.raises(OperatorError, match=told + r"\d+ s ago by an operator"):
        load(place, owner="operator", loading=loading)
    assert len(attached(place.cgroup)) == 1


def test_a_compiler_that_hangs_is_ended(place: BpfSettings, tmp_path: Path) -> None:
    hurried = replace(place, build_seconds=3)
    hanging = ("sh", "-c", "echo compiled nothing >&2; exec sleep 1000")
    loading = Loading((counting(tmp_path),), hanging)
    with pytest.raises(OperatorError, match=r"compiling BPF took longer than .*compiled nothing$"):
        load(hurried, owner="operator", loading=loading)
    assert not place.directory.exists()


def test_modules_in_the_working_directory_are_not_run(
    place: BpfSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('run from the working directory')")
    monkeypatch.chdir(tmp_path)
    load(place, owner="operator", loading=only(counting(tmp_path)))
    assert len(attached(place.cgroup)) == 1


def test_unloading_leaves_nothing(place: BpfSettings, tmp_path: Path) -> None:
    load(place, owner="operator", loading=only(counting(tmp_path)))
    assert len(list(_links_to(place.cgroup))) == 1
    assert unload(place)
    assert attached(place.cgroup) == ()
    assert list(_links_to(place.cgroup)) == []
    assert not place.directory.exists()
    assert loaded(place) is None


def test_unloading_empties_maps_that_somebody_still_has(place: BpfSettings, tmp_path: Path) -> None:
    result = load(place, owner="operator", loading=only(counting(tmp_path)))
    with result.map("connects") as connects:
        connects.update(bytes(4), struct.pack("=Q", 7))
        unload(place)
        assert number(connects.lookup(bytes(4))) == 0


def test_unloading_twice_does_nothing(place: BpfSettings, tmp_path: Path) -> None:
    load(place, owner="operator", loading=only(counting(tmp_path)))
    assert unload(place)
    assert not unload(place)


def test_unloading_leaves_programs_of_others(place: BpfSettings, tmp_path: Path) -> None:
    other = replace(place, directory=Path(f"{place.directory}_other"))
    load(other, owner="operator", loading=only(counting(tmp_path)))
    try:
        load(place, owner="operator", loading=only(counting(tmp_path)))
        unload(place)
        assert len(attached(place.cgroup)) == 1
    finally:
        unload(other)


def test_a_directory_outside_of_bpf_file_systems_is_named(
    place: BpfSettings, tmp_path: Path
) -> None:
    elsewhere = replace(place, directory=tmp_path / "pins")
    with pytest.raises(OperatorError, match=f"bpf.directory {tmp_path}/pins is in no BPF file"):
        load(elsewhere, owner="operator", loading=only(counting(tmp_path)))


def test_a_cgroup_that_is_none_is_named(place: BpfSettings, tmp_path: Path) -> None:
    elsewhere = replace(place, cgroup=str(tmp_path))
    with pytest.raises(OperatorError, match="is no cgroup v2 directory"):
        load(elsewhere, owner="operator", loading=only(counting(tmp_path)))


def test_an_exclusive_program_of_somebody_else_is_the_reason(
    place: BpfSettings, tmp_path: Path
) -> None:
    below = Path(place.cgroup, "below")
    below.mkdir()
    other = replace(place, directory=Path(f"{place.directory}_other"))
    passive = replace(counting(tmp_path).programs[0], attach_to="")
    group = replace(counting(tmp_path), programs=(passive,))
    load(other, owner="operator", loading=only(group))
    program = open_pinned(other.directory / "current/programs/count_connects")
    cgroup = os.open(place.cgroup, os.O_RDONLY)
    try:
        prog_attach(program, cgroup, AttachType.CGROUP_INET4_CONNECT)
        inside = replace(place, cgroup=str(below))
        with pytest.raises(OperatorError, match="a program that allows no other is attached"):
            load(inside, owner="operator", loading=only(counting(tmp_path)))
    finally:
        os.close(program)
        os.close(cgroup)
        below.rmdir()
        unload(other)


def _links_to(cgroup: str) -> Iterator[int]:
    inode = Path(cgroup).stat().st_ino
    for each in link_ids():
        with suppress(FileNotFoundError):
            link = link_fd_by_id(each)
            if link_info(link).target == inode:
                yield each
            os.close(link)
