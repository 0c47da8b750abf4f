"""BPF maps by descriptor: bytes in, bytes out; how they are laid out is for typed wrappers.

Source: bpf(2), Documentation/bpf/map_hash.rst, map_array.rst and map_sockmap.rst.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Self, TypeVar

from edgemesh.kernel.bpf.syscall import Command, address, bpf, map_info, open_pinned, packed

_BATCH_BYTES = 1 << 18  # of keys and values together that one batch call takes
_POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")
# 524 is the kernel's own ENOTSUPP, which bpf(2) lets through for maps without batches.
_NO_BATCH = {errno.EINVAL, errno.EOPNOTSUPP, 524}


class MapType(IntEnum):
    """enum bpf_map_type, as far as it is used."""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    SOCKMAP = 15
    SOCKHASH = 18
    SK_STORAGE = 24
    RINGBUF = 27


_PER_CPU = {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH}
_ARRAYS = {MapType.ARRAY, MapType.PERCPU_ARRAY}
_BATCH = "=QQQQIIQQ"
_Item = TypeVar("_Item")
_WITHOUT_KEYS = {MapType.SK_STORAGE, MapType.RINGBUF}
_BATCHED = {MapType.HASH, MapType.LRU_HASH, MapType.ARRAY} | _PER_CPU


class Map:
    """One map, whose descriptor it owns; a context manager that closes it.

    Calls take microseconds and never wait, and one Map may be used by several threads.

    Args:
        fd: the descriptor.

    Raises:
        OSError: EINVAL where it is no map's.
    """

    def __init__(self, fd: int) -> None:
        info = map_info(fd)
        self.fd = fd
        self.type = info.type
        self.key_size = info.key_size
        # One value for each CPU that could ever be plugged in, each padded to 8 bytes.
        self.value_size = (
            (info.value_size + 7) // 8 * 8 * possible_cpus()
            if info.type in _PER_CPU
            else info.value_size
        )
        self.max_entries = info.max_entries
        self.name = info.name
        self._batched = info.type in _BATCHED

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a map that is pinned.

        Raises:
            OSError: ENOENT, or EINVAL where something else is pinned there.
        """
        fd = open_pinned(path)
        try:
            return cls(fd)
        except OSError:
            os.close(fd)
            raise

    def __enter__(self) -> Self:
        """The map itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the descriptor; the map lives on while it is pinned or used by a program."""
        self.close()

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key, None where there is none; of a per-CPU map each CPU's in turn."""
        value = ctypes.create_string_buffer(self.value_size)
        try:
            self._element(Command.MAP_LOOKUP_ELEM, key, address(value))
        except FileNotFoundError:
            return None
        return value.raw

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set the value of a key.

        Args:
            key: of ``key_size`` bytes.
            value: of ``value_size`` bytes; of a sockmap, a socket's descriptor.
            flags: BPF_NOEXIST 1 only where there is none, BPF_EXIST 2 only where there is one.

        Raises:
            OSError: E2BIG where the map is full; EEXIST, ENOENT by the flags; EOPNOTSUPP where
                a sockmap takes no such socket.
        """
        assert len(value) == self.value_size, f"{self.name}: a value of {len(value)} bytes"
        self._element(Command.MAP_UPDATE_ELEM, key, address(value), flags)

    def delete(self, key: bytes) -> bool:
        """Remove a key; False where there was none.

        Raises:
            OSError: EINVAL for arrays.
        """
        try:
            self._element(Command.MAP_DELETE_ELEM, key, 0)
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys; some may come twice if keys are removed meanwhile by somebody else."""
        following = ctypes.create_string_buffer(self.key_size)
        last: bytes | None = None
        while True:
            at = address(last) if last is not None else 0
            attributes = packed("=IxxxxQQ", self.fd, at, address(following))
            try:
                bpf(Command.MAP_GET_NEXT_KEY, attributes)
            except FileNotFoundError:
                return
            last = following.raw
            yield last

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their values, by batches where the map has them (kernel 5.6)."""
        return self._items_by_batch() if self._batched else self._items_one_by_one()

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values, in their order; a failure leaves those before it set.

        Raises:
            OSError: as `update`.
        """
        assert all(len(k) == self.key_size and len(v) == self.value_size for k, v in pairs)
        for part in self._parts(pairs):
            keys, values = b"".join(key for key, _ in part), b"".join(value for _, value in part)
            done = self._batch(Command.MAP_UPDATE_BATCH, keys, values, len(part))
            for key, value in part[done:]:
                self.update(key, value)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove many keys; those that are not there do not matter."""
        assert all(len(key) == self.key_size for key in keys)
        for part in self._parts(keys):
            done = self._batch(Command.MAP_DELETE_BATCH, b"".join(part), b"", len(part))
            for key in part[done:]:
                self.delete(key)

    def clear(self) -> None:
        """Remove everything: an array's values become zeros.

        A ring buffer and a socket storage stay as they are: nobody can remove from them by key.
        """
        if self.type in _WITHOUT_KEYS:
            return
        # A sockmap's values cannot be looked up everywhere, and batches are of both.
        keys = [key for key, _ in self.items()] if self._batched else list(self.keys())
        if self.type in _ARRAYS:
            self.update_many([(key, bytes(self.value_size)) for key in keys])
        else:
            self.delete_many(keys)

    def _element(self, command: Command, key: bytes, value: int, flags: int = 0) -> None:
        assert len(key) == self.key_size, f"{self.name}: a key of {len(key)} bytes"
        bpf(command, packed("=IxxxxQQQ", self.fd, address(key), value, flags))

    def _items_one_by_one(self) -> Iterator[tuple[bytes, bytes]]:
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def _items_by_batch(self) -> Iterator[tuple[bytes, bytes]]:
        length = self._batch_length()
        cursor = b""
        ended = False
        while not ended:
            keys = ctypes.create_string_buffer(length * self.key_size)
            values = ctypes.create_string_buffer(length * self.value_size)
            # Hash tables keep a bucket's number here, others a key.
            following = ctypes.create_string_buffer(max(4, self.key_size))
            at = address(cursor) if cursor else 0
            places = (at, address(following), address(keys), address(values))
            attributes = packed(_BATCH, *places, length, self.fd, 0, 0)
            try:
                bpf(Command.MAP_LOOKUP_BATCH, attributes)
            except FileNotFoundError:
                ended = True
            except OSError as error:
                if error.errno == errno.ENOSPC:  # one bucket has more
                    length *= 2
                    continue
                if cursor or error.errno not in _NO_BATCH:
                    raise
                self._batched = False
                yield from self._items_one_by_one()
                return
            count = _count(attributes)
            yield from zip(
                _cut(keys.raw, self.key_size, count),
                _cut(values.raw, self.value_size, count),
                strict=True,
            )
            cursor = following.raw

    def _batch_length(self) -> int:
        return max(1, _BATCH_BYTES // (self.key_size + self.value_size))

    def _parts(self, whole: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
        length = self._batch_length()
        return (whole[at : at + length] for at in range(0, len(whole), length))

    def _batch(self, command: Command, keys: bytes, values: bytes, count: int) -> int:
        """Do it for many keys in one call; how many of them, from the first, are done."""
        if not self._batched:
            return 0
        attributes = packed(_BATCH, 0, 0, address(keys), address(values), count, self.fd, 0, 0)
        try:
            bpf(command, attributes)
        except OSError as error:
            self._batched = error.errno not in _NO_BATCH
            # The first that failed is tried again by itself, and raises with the right errno.
            # The kernel leaves the count alone where it did not get as far as to begin.
            done = _count(attributes)
            return done if done < count else 0
        return count


def create_map(
    type_: int, key_size: int, value_size: int, max_entries: int, name: str, *, flags: int = 0
) -> Map:
    """Make a map.

    Args:
        type_: see MapType.
        key_size: in bytes.
        value_size: in bytes, of one CPU's value.
        max_entries: how many it holds; the bytes of a ring buffer.
        name: for people who list maps, at most 15 characters.
        flags: BPF_F_NO_PREALLOC 1 and others.

    Raises:
        OSError: EPERM without the privilege, EINVAL where the kernel has no such map.
    """
    shape = (type_, key_size, value_size, max_entries, flags, 0, 0)
    fd = bpf(Command.MAP_CREATE, packed("=7I16s", *shape, name.encode("ascii")))
    return Map(fd)


@functools.cache
def possible_cpus() -> int:
    """How many values a per-CPU map has for each key."""
    last = _POSSIBLE_CPUS.read_text().strip().split(",")[-1].split("-")[-1]
    return int(last) + 1


def _count(attributes: ctypes.Array[ctypes.c_char]) -> int:
    (count,) = struct.unpack_from("=I", attributes, 32)
    return int(count)


def _cut(data: bytes, size: int, count: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, size * count, size))
