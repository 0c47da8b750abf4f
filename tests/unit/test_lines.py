from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.lines import LineSplitter

LIMIT = 8


def whole(data: bytes) -> list[bytes | None]:
    """What a splitter has to find: each ended line, None for one above the limit."""
    *ended, rest = data.split(b"\n")
    lines: list[bytes | None] = [line if len(line) <= LIMIT else None for line in ended]
    return lines + ([None] if len(rest) > LIMIT else [])


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"x", b"\n")), max_size=20))
def test_lines_do_not_depend_on_how_the_bytes_come(chunks: list[bytes]) -> None:
    splitter = LineSplitter(LIMIT)
    found = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert found == whole(b"".join(chunks))


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"0123456789", b"d\ne"]), max_size=40))
def test_long_lines_are_reported_once_and_the_next_one_is_read(chunks: list[bytes]) -> None:
    splitter = LineSplitter(LIMIT)
    found = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert found == whole(b"".join(chunks))


def test_no_more_than_the_limit_is_held() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(1000):
        splitter.feed(b"x" * 100)
        assert len(splitter._held) <= LIMIT
    assert splitter.feed(b"\nok\n") == [b"ok"]
