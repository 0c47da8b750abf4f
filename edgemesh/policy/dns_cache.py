"""Answers of upstream servers, kept for as long as they may be; the clock is an argument."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from edgemesh.wire.dns import codes
from edgemesh.wire.dns.records import Content, Record, soa_minimum

# Of stale answers: short, so that clients soon ask again (RFC 8767 section 4).
_STALE_TTL: Final = 30
# What CPython takes for a record and an entry beside the bytes of their names and data.
_RECORD_OVERHEAD: Final = 300
_ENTRY_OVERHEAD: Final = 500

Key = tuple[bytes, int]


class _Entry(NamedTuple):
    content: Content
    stored_at: float
    expires_at: float
    cost: int


class DnsCache:
    """Answers and denials by canonical name and type; the least recently used give way.

    Args:
        entries, size_bytes: upper bounds; the second is an estimate of memory.
        max_ttl, negative_ttl: upper bounds of how long answers and denials are fresh, in seconds.
        stale_max: how long an expired one may still serve while no server answers, in seconds.
    """

    def __init__(
        self, *, entries: int, size_bytes: int, max_ttl: int, negative_ttl: int, stale_max: int
    ) -> None:
        self._most_entries = entries
        self._most_bytes = size_bytes
        self._max_ttl = max_ttl
        self._negative_ttl = negative_ttl
        self._stale_max = stale_max
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Key, content: Content, now: float) -> None:
        """Keep an answer, unless it may not be kept at all: a TTL of 0, a denial without SOA."""
        self._remove(key)
        lifetime = self._lifetime(content)
        cost = _cost(content)
        if lifetime == 0 or cost > self._most_bytes:
            return
        self._entries[key] = _Entry(content, now, now + lifetime, cost)
        self.size_bytes += cost
        while len(self._entries) > self._most_entries or self.size_bytes > self._most_bytes:
            self._remove(next(iter(self._entries)))

    def fresh(self, key: Key, now: float) -> Content | None:
        """The answer with the TTLs that remain, None when there is none or it has expired."""
        entry = self._entries.get(key)
        if entry is None or now >= entry.expires_at:
            return None
        self._entries.move_to_end(key)
        return _with_ttls(
            entry.content,
            most=int(entry.expires_at - now),
            age=int(now - entry.stored_at),
        )

    def stale(self, key: Key, now: float) -> Content | None:
        """The answer, expired or not, while it may still serve (RFC 8767)."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.expires_at + self._stale_max:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return _with_ttls(entry.content, most=_STALE_TTL, age=0)

    def _lifetime(self, content: Content) -> int:
        if content.rcode == codes.NOERROR and content.answer and not _is_denial(content):
            return min(self._max_ttl, *(record.ttl for record in content.answer))
        starts = [record for record in content.authority if record.type == codes.SOA]
        if not starts:
            # Not to be cached (RFC 2308 section 5).
            return 0
        ttls = [min(start.ttl, soa_minimum(start)) for start in starts]
        return min(self._negative_ttl, *ttls, *(record.ttl for record in content.answer))

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.cost


def _is_denial(content: Content) -> bool:
    """NODATA may come behind CNAMEs; the SOA tells (RFC 2308 section 2.2)."""
    return any(record.type == codes.SOA for record in content.authority)


def _cost(content: Content) -> int:
    sections = (content.answer, content.authority, content.additional)
    return _ENTRY_OVERHEAD + sum(
        _RECORD_OVERHEAD + len(record.owner) + len(record.data)
        for section in sections
        for record in section
    )


def _with_ttls(content: Content, most: int, age: int) -> Content:
    def section(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(r._replace(ttl=max(0, min(r.ttl - age, most))) for r in records)

    return Content(
        content.rcode,
        section(content.answer),
        section(content.authority),
        section(content.additional),
    )
