"""BPF maps through bpf(2): every kind that edgemesh uses, in the real kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from edgemesh.kernel.bpf.maps import Map, MapType, create_map, possible_cpus
from edgemesh.kernel.bpf.ringbuf import RingBuffer

pytestmark = pytest.mark.root

NewMap = Callable[..., Map]


@pytest.fixture
def new_map() -> Iterator[NewMap]:
    with ExitStack() as stack:

        def new(type_: MapType, entries: int = 8, value_size: int = 8, flags: int = 0) -> Map:
            key_size = 0 if type_ is MapType.RINGBUF else 4
            made = create_map(type_, key_size, value_size, entries, "test_map", flags=flags)
            return stack.enter_context(made)

        yield new


def key(number: int) -> bytes:
    return struct.pack("=I", number)


def value(number: int) -> bytes:
    return struct.pack("=Q", number)


def test_what_was_set_is_found(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    table.update(key(1), value(2**63))
    assert table.lookup(key(1)) == value(2**63)


def test_a_key_that_is_not_there_is_none(new_map: NewMap) -> None:
    assert new_map(MapType.HASH).lookup(key(1)) is None


def test_a_removed_key_is_gone(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    table.update(key(1), value(1))
    assert table.delete(key(1))
    assert table.lookup(key(1)) is None


def test_removing_what_is_not_there_says_so(new_map: NewMap) -> None:
    assert not new_map(MapType.HASH).delete(key(1))


def test_a_full_map_says_so(new_map: NewMap) -> None:
    table = new_map(MapType.HASH, entries=1)
    table.update(key(1), value(1))
    with pytest.raises(OSError, match=rf"Errno {errno.E2BIG}\b"):
        table.update(key(2), value(2))


def test_a_key_can_be_set_only_if_it_is_new(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    table.update(key(1), value(1), flags=1)
    with pytest.raises(FileExistsError):
        table.update(key(1), value(2), flags=1)


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH, MapType.ARRAY])
def test_all_pairs_are_listed(new_map: NewMap, kind: MapType) -> None:
    table = new_map(kind, entries=3)
    pairs = {key(number): value(number + 10) for number in range(3)}
    table.update_many(list(pairs.items()))
    assert dict(table.items()) == pairs
    assert set(table.keys()) == set(pairs)


def test_more_pairs_than_one_batch_takes_are_set_listed_and_removed(new_map: NewMap) -> None:
    table = new_map(MapType.HASH, entries=50_000)
    pairs = {key(number): value(number) for number in range(50_000)}
    table.update_many(list(pairs.items()))
    assert dict(table.items()) == pairs
    table.delete_many(list(pairs)[1:])
    assert list(table.items()) == [(key(0), value(0))]


def test_a_batch_that_fails_leaves_what_came_before_it(new_map: NewMap) -> None:
    table = new_map(MapType.HASH, entries=2)
    with pytest.raises(OSError, match=rf"Errno {errno.E2BIG}\b"):
        table.update_many([(key(number), value(number)) for number in range(3)])
    assert dict(table.items()) == {key(0): value(0), key(1): value(1)}


def test_removing_many_passes_over_those_that_are_gone(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    table.update_many([(key(number), value(number)) for number in range(3)])
    table.delete_many([key(7), key(1), key(8), key(2)])
    assert list(table.keys()) == [key(0)]


def test_an_empty_map_lists_nothing(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    assert list(table.items()) == []
    assert list(table.keys()) == []


def test_a_hash_is_cleared_by_removing(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    table.update(key(5), value(5))
    table.clear()
    assert list(table.keys()) == []


def test_an_array_is_cleared_by_zeros(new_map: NewMap) -> None:
    table = new_map(MapType.ARRAY, entries=2)
    table.update(key(1), value(5))
    table.clear()
    assert dict(table.items()) == {key(0): value(0), key(1): value(0)}


@pytest.mark.parametrize("kind", [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY])
def test_a_value_for_each_cpu_is_padded_to_eight_bytes(new_map: NewMap, kind: MapType) -> None:
    table = new_map(kind, entries=2, value_size=4)
    values = b"".join(struct.pack("=Q", number) for number in range(possible_cpus()))
    table.update(key(1), values)
    assert table.lookup(key(1)) == values
    assert dict(table.items())[key(1)] == values


def test_a_sockhash_lists_its_keys(new_map: NewMap) -> None:
    table = new_map(MapType.SOCKHASH)
    with socket.create_server(("127.0.0.1", 0)) as server:
        table.update(key(9), struct.pack("=Q", server.fileno()))
        (cookie,) = struct.unpack("=Q", server.getsockopt(socket.SOL_SOCKET, 57, 8))
        assert list(table.items()) == [(key(9), struct.pack("=Q", cookie))]
        table.clear()
    assert list(table.keys()) == []


def test_clearing_a_ring_buffer_does_nothing(new_map: NewMap) -> None:
    new_map(MapType.RINGBUF, entries=4096, value_size=0).clear()


def test_a_map_tells_its_shape(new_map: NewMap) -> None:
    table = new_map(MapType.HASH, entries=3)
    shape = (table.type, table.key_size, table.value_size, table.max_entries, table.name)
    assert shape == (MapType.HASH, 4, 8, 3, "test_map")


def test_a_closed_map_has_no_descriptor(new_map: NewMap) -> None:
    table = new_map(MapType.HASH)
    fd = table.fd
    table.close()
    table.close()
    with pytest.raises(OSError, match=rf"Errno {errno.EBADF}\b"):
        os.fstat(fd)


def test_a_descriptor_that_is_no_map_is_refused() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=rf"Errno {errno.EINVAL}\b"):
            Map(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_new_ring_buffer_has_no_records(new_map: NewMap) -> None:
    with RingBuffer(new_map(MapType.RINGBUF, entries=4096, value_size=0)) as ring:
        assert list(ring.records()) == []
