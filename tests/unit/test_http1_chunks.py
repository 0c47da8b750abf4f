"""Where a chunked body ends; malformed ones are in test_http1_malformed."""

from __future__ import annotations

import pytest

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import MalformedBody

SETTINGS = HttpSettings()


def scan(data: bytes, settings: HttpSettings = SETTINGS) -> int:
    return ChunkScanner(settings).feed(data, 0, len(data))


@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n\r\n",
        b"0000000000000000\r\n\r\n",
        b"1\r\na\r\n0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"00a\r\n0123456789\r\n0;last\r\n\r\n",
        b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        b'1;a;b=c;d="e;\\"\xe9\t"\r\na\r\n0;f=g\r\n\r\n',
        b"1\r\na\r\n0\r\nChecksum: 7\r\nX-Other:\r\n\r\n",
    ],
)
def test_the_body_ends_behind_its_trailers(body: bytes) -> None:
    assert scan(body) == len(body)
    assert scan(body + b"0\r\n\r\n") == len(body)


def test_a_body_that_is_over_takes_nothing_more() -> None:
    scanner = ChunkScanner(SETTINGS)
    assert scanner.feed(b"0\r\n\r\n", 0, 5) == 5
    assert scanner.feed(b"xxabc", 2, 5) == 2


def test_nothing_changes_nothing() -> None:
    scanner = ChunkScanner(SETTINGS)
    for byte in b"3\r\nabc\r\n0\r\nA: b\r\n\r":
        assert scanner.feed(bytes([byte]), 0, 1) == -1
        assert scanner.feed(b"", 0, 0) == -1
    assert scanner.feed(b"\n", 0, 1) == 1


def test_only_the_given_part_of_the_buffer_is_looked_at() -> None:
    scanner = ChunkScanner(SETTINGS)
    assert scanner.feed(b"??3\r\nabc??", 2, 8) == -1
    assert scanner.feed(b"??\r\n0\r\n\r\n??", 2, 9) == 9


def test_the_largest_chunk_is_skipped_without_looking_at_it() -> None:
    scanner = ChunkScanner(SETTINGS)
    assert scanner.feed(b"7fffffffffffffff\r\n" + bytes(1000), 0, 1018) == -1


def test_limits_are_those_of_the_settings_to_the_byte() -> None:
    settings = HttpSettings(max_chunk_line_bytes=16, max_head_bytes=32, max_fields=2)
    assert scan(b"0;" + b"a" * 12 + b"\r\n", settings) == -1
    with pytest.raises(MalformedBody, match="chunk-line-too-long"):
        scan(b"0;" + b"a" * 13 + b"\r\n", settings)
    trailers = b"A: 1\r\nB: " + b"2" * 19 + b"\r\n"
    assert scan(b"0\r\n" + trailers + b"\r\n", settings) == 35
    with pytest.raises(MalformedBody, match="trailers-too-long"):
        scan(b"0\r\nB" + trailers + b"\r\n", settings)
    with pytest.raises(MalformedBody, match="too-many-trailers"):
        scan(b"0\r\n" + b"A:\r\n" * 3, settings)


def test_small_chunks_are_allowed_by_the_million() -> None:
    body = b"1\r\na\r\n" * 20000 + b"0\r\n\r\n"
    assert scan(body) == len(body)


def test_extensions_are_allowed_in_proportion_to_data() -> None:
    chunk = b"400;" + b"a" * 1000 + b"\r\n" + bytes(1024) + b"\r\n"
    assert scan(chunk * 200) == -1
