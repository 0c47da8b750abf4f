"""From a client's message to the reply: who knows the name, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Final

from edgemesh.model.services import Snapshot
from edgemesh.model.settings import DnsSettings
from edgemesh.policy.dns_cache import Key
from edgemesh.policy.name_index import NameIndex
from edgemesh.policy.naming import answer, rotated
from edgemesh.policy.zone import Zone
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.dns.resolver import Resolver
from edgemesh.wire.dns import codes
from edgemesh.wire.dns.encode import encode_response
from edgemesh.wire.dns.query import BadQueryError, Query, parse_query
from edgemesh.wire.dns.records import Content, Record

_ID_BYTES: Final = 2
# Ready replies that are kept: of short queries only, and few enough for a few megabytes.
_MOST_READY: Final = 4096
_LONGEST_READY_QUERY: Final = 300
# As many beginnings of a list of addresses take turns.
_MOST_TURNS: Final = 8


class Deferred:
    """A reply that is still to come.

    Attributes:
        deliver: called with it; set by whoever got this, before it lets other tasks run.
    """

    __slots__ = ("deliver",)

    def __init__(self) -> None:
        self.deliver: Callable[[bytes], None] = _nowhere


def _nowhere(_: bytes) -> None:
    """Where a reply goes that nobody waits for."""


class Responder:
    """Answers messages; itself sends and receives nothing."""

    def __init__(
        self,
        settings: DnsSettings,
        zone: Zone,
        snapshot: Callable[[], Snapshot],
        resolver: Resolver,
        counters: DnsCounters,
    ) -> None:
        self._payload_bytes = settings.udp_payload_bytes
        self._zone = zone
        self._snapshot = snapshot
        self._resolver = resolver
        self._counters = counters
        self._index = NameIndex(snapshot(), zone)
        # Replies without identifier by message without identifier: while the snapshot is the
        # same, the rest of the reply depends on nothing else.
        self._ready: dict[bytes, Iterator[bytes]] = {}

    def answer_datagram(self, message: bytes) -> bytes | Deferred:
        """The reply to a datagram, empty when nothing may be sent."""
        self._renew_index()
        ready = self._ready.get(message[_ID_BYTES:])
        if ready is None:
            return self._answer(message, datagram=True)
        self._counters.cluster += 1
        return message[:_ID_BYTES] + next(ready)

    def answer_stream(self, message: bytes) -> bytes | Deferred:
        """The reply to a message of a connection, empty when nothing may be sent."""
        self._renew_index()
        return self._answer(message, datagram=False)

    def _renew_index(self) -> None:
        snapshot = self._snapshot()
        if snapshot is not self._index.snapshot:
            self._index = NameIndex(snapshot, self._zone)
            self._ready.clear()

    def _answer(self, message: bytes, *, datagram: bool) -> bytes | Deferred:
        try:
            query = parse_query(message)
        except BadQueryError as error:
            self._counters.malformed += 1
            return error.reply
        limit = codes.LARGEST_MESSAGE
        if datagram:
            limit = max(codes.SMALLEST_PAYLOAD, min(query.payload_size, self._payload_bytes))
        known = answer(self._index, query.name, query.type)
        if known is None:
            return self._ask(query, limit, (query.name, query.type), ())
        self._counters.cluster += 1
        if known.alias is not None:
            return self._ask(query, limit, (known.alias, query.type), known.content.answer)
        reply = self._encode(query, limit, known.content, authoritative=True)
        if datagram and len(message) <= _LONGEST_READY_QUERY:
            self._make_ready(message, query, limit, known.content, reply)
        return reply

    def _make_ready(
        self, message: bytes, query: Query, limit: int, content: Content, reply: bytes
    ) -> None:
        """Keep the reply, and its turns when it lists several addresses, for equal messages."""
        if len(self._ready) >= _MOST_READY:
            # Whoever asks for ever new names empties it; each answer then costs its full price.
            self._ready.clear()
        count = len(content.answer)
        turns = min(count, _MOST_TURNS)
        replies = [
            self._encode(query, limit, rotated(content, turn * count // turns), authoritative=True)
            for turn in range(1, turns)
        ]
        # The one that is given out now has its next turn after all others.
        self._ready[message[_ID_BYTES:]] = cycle([ready[_ID_BYTES:] for ready in (*replies, reply)])

    def _ask(
        self, query: Query, limit: int, key: Key, aliases: tuple[Record, ...]
    ) -> bytes | Deferred:
        deferred = Deferred()
        content = self._resolver.resolve(
            key, partial(self._finish, deferred, query, limit, aliases)
        )
        return deferred if content is None else self._encode_found(query, limit, aliases, content)

    def _finish(
        self,
        deferred: Deferred,
        query: Query,
        limit: int,
        aliases: tuple[Record, ...],
        content: Content,
    ) -> None:
        deferred.deliver(self._encode_found(query, limit, aliases, content))

    def _encode_found(
        self, query: Query, limit: int, aliases: tuple[Record, ...], content: Content
    ) -> bytes:
        """The answer of others, behind our own aliases to it (RFC 1034 section 3.6.2)."""
        whole = content._replace(answer=aliases + content.answer)
        return self._encode(query, limit, whole, authoritative=bool(aliases))

    def _encode(self, query: Query, limit: int, content: Content, *, authoritative: bool) -> bytes:
        return encode_response(
            query,
            content,
            limit=limit,
            authoritative=authoritative,
            payload_size=self._payload_bytes,
        )
