"""Find heads in what has come of a connection, and remember them: clients repeat theirs."""

from __future__ import annotations

from typing import Generic, TypeVar

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.beginning import REQUEST, RESPONSE, check_beginning, check_size
from edgemesh.wire.http1.fields import KnownFields
from edgemesh.wire.http1.heads import RequestHead, ResponseHead
from edgemesh.wire.http1.request_head import parse_request
from edgemesh.wire.http1.response_head import parse_response

_END = b"\r\n\r\n"
Head = TypeVar("Head", RequestHead, ResponseHead)


class HeadCache(Generic[Head]):
    """Heads by their bytes, in two generations: what was not asked for is forgotten.

    A generation holds half of the entries or bytes that are allowed. When the younger one is
    full it becomes the older one, and what that one held is gone, but for what was used since.

    Args:
        entries, byte_count: upper bounds.
        longest: a longer head is not kept.
    """

    def __init__(self, entries: int, byte_count: int, longest: int) -> None:
        self.young: dict[bytes, Head] = {}
        self._old: dict[bytes, Head] = {}
        self._entries = max(1, entries // 2)
        self._bytes = byte_count // 2
        self._longest = longest
        self._used = 0

    def older(self, raw: bytes) -> Head | None:
        """The head that is not among the young ones; from now on it is."""
        head = self._old.get(raw)
        if head is not None:
            self.keep(raw, head)
        return head

    def keep(self, raw: bytes, head: Head) -> None:
        """Remember a head by the bytes that it is asked for with."""
        if len(raw) > self._longest or len(raw) > self._bytes:
            return
        if len(self.young) >= self._entries or self._used + len(raw) > self._bytes:
            self._old, self.young, self._used = self.young, {}, 0
        self.young[raw] = head
        self._used += len(raw)


class HeadReader:
    """Reads the heads of all connections of an agent, for the cache to serve all of them.

    Args:
        settings: the limits.

    Attributes:
        requests: heads that came before, by their bytes. Who finds there what it has just read
            need not look for its end.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._fields = KnownFields(settings.head_cache_entries)
        limits = (
            settings.head_cache_entries,
            settings.head_cache_bytes,
            settings.max_cached_head_bytes,
        )
        self.requests = HeadCache[RequestHead](*limits)
        self._responses = HeadCache[ResponseHead](*limits)

    def read_request(self, data: bytes | bytearray, start: int = 0) -> RequestHead | None:
        """The head that begins at ``start``, with one empty line before it ignored.

        RFC 9112 section 2.2 asks for the latter: old clients send one behind a body. The head
        took ``head.size`` bytes of data.

        Returns:
            None when more bytes are needed.

        Raises:
            MalformedHead: it is refused, as early as the bytes tell.
        """
        end = data.find(_END, start)
        if end >= 0:
            raw = bytes(data[start : end + 4])
            return self.requests.young.get(raw) or self._parse_request(raw)
        begin = start + 2 if data.startswith(b"\r\n", start) else start
        check_beginning(data, begin, self._settings, REQUEST)
        return None

    def read_response(self, data: bytes | bytearray, start: int = 0) -> ResponseHead | None:
        """The head that begins at ``start`` and takes ``head.size`` bytes.

        Returns:
            None when more bytes are needed.

        Raises:
            MalformedHead: it is refused, as early as the bytes tell; always with 502.
        """
        end = data.find(_END, start)
        if end >= 0:
            raw = bytes(data[start : end + 4])
            return self._responses.young.get(raw) or self._parse_response(raw)
        check_beginning(data, start, self._settings, RESPONSE)
        return None

    def _parse_request(self, raw: bytes) -> RequestHead:
        head = self.requests.older(raw)
        if head is None:
            proper = raw.removeprefix(b"\r\n")
            check_size(proper, self._settings, REQUEST)
            head = parse_request(proper, len(raw), self._fields, self._settings.max_fields)
            self.requests.keep(raw, head)
        return head

    def _parse_response(self, raw: bytes) -> ResponseHead:
        head = self._responses.older(raw)
        if head is None:
            check_size(raw, self._settings, RESPONSE)
            head = parse_response(raw, self._fields, self._settings.max_fields)
            self._responses.keep(raw, head)
        return head
