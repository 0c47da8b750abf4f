"""A BPF ring buffer, read without a system call: its pages are mapped into this process.

Source: Documentation/bpf/ringbuf.rst; the layout of a record is struct bpf_ringbuf_hdr of
kernel/bpf/ringbuf.c, which libbpf relies on, too.
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Iterator
from typing import Self

from edgemesh.kernel.bpf.maps import Map

_HEADER_BYTES = 8
_BUSY = 1 << 31
_DISCARDED = 1 << 30


class RingBuffer:
    """The one consumer of a ring buffer.

    Ownership: it closes the map that it is given. One thread reads at a time.

    Args:
        ring: a map of type RINGBUF.

    Raises:
        OSError: the map is no ring buffer, or may not be mapped.
    """

    def __init__(self, ring: Map) -> None:
        self._map = ring
        self._size = ring.max_entries
        page = mmap.PAGESIZE
        self._consumer = mmap.mmap(ring.fd, page)
        # The data follow twice, so that a record across the end is read in one piece.
        self._producer = mmap.mmap(ring.fd, page + 2 * self._size, prot=mmap.PROT_READ, offset=page)
        # Positions are one aligned word each; the lock orders reads of memory around them, as
        # arm64 needs it (Documentation/memory-barriers.txt).
        self._barrier = threading.Lock()

    def __enter__(self) -> Self:
        """The ring buffer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def fileno(self) -> int:
        """Readable, for epoll and trio, when there are records."""
        return self._map.fd

    def close(self) -> None:
        """Unmap and close the map; a second call does nothing."""
        self._consumer.close()
        self._producer.close()
        self._map.close()

    def records(self) -> Iterator[bytes]:
        """Take the records that are there; each is consumed before it is handed out."""
        (position,) = struct.unpack_from("@Q", self._consumer)
        while position < self._produced():
            at = mmap.PAGESIZE + position % self._size
            (length,) = struct.unpack_from("@I", self._producer, at)
            if length & _BUSY:
                return  # a program is still writing it, and wakes us when it has
            with self._barrier:
                start = at + _HEADER_BYTES
                size = length & ~_DISCARDED
                record = self._producer[start : start + size]
                position += (_HEADER_BYTES + size + 7) // 8 * 8
            struct.pack_into("@Q", self._consumer, 0, position)
            if not length & _DISCARDED:
                yield record

    def _produced(self) -> int:
        (position,) = struct.unpack_from("@Q", self._producer)
        with self._barrier:
            return int(position)
