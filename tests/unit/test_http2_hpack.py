"""HPACK (RFC 7541): what hpack encodes we decode, and the other way round, also in bad weather."""

from __future__ import annotations

import time
from collections.abc import Callable

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman as theirs
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.http2.codes import ConnectionFault, ErrorCode
from edgemesh.wire.http2.hpack_decoder import HpackDecoder
from edgemesh.wire.http2.hpack_encoder import encode_block, encode_field, encode_integer
from edgemesh.wire.http2.hpack_table import STATIC_TABLE, Field, SensitiveField
from edgemesh.wire.http2.huffman import NotHuffman, decode_huffman

LIMIT = 65536
NAMES = st.sampled_from([name for name, _ in STATIC_TABLE[1:]]) | st.binary(min_size=1, max_size=20)
FIELDS = st.tuples(NAMES, st.binary(max_size=200))
LISTS = st.lists(FIELDS | st.sampled_from(STATIC_TABLE[1:]), max_size=15)


def decoder() -> HpackDecoder:
    return HpackDecoder(LIMIT)


def broken(block: bytes) -> ErrorCode:
    with pytest.raises(ConnectionFault) as caught:
        decoder().decode(block)
    return caught.value.code


@given(st.lists(LISTS, max_size=8), st.booleans())
def test_blocks_of_another_encoder_are_decoded_in_their_order(
    lists: list[list[Field]], huffman: bool
) -> None:
    encoder, ours = hpack.Encoder(), decoder()
    for fields in lists:
        assert ours.decode(encoder.encode(fields, huffman=huffman)) == fields


@given(st.lists(LISTS | st.integers(0, 4096), max_size=12))
def test_the_table_may_change_its_size_between_blocks(steps: list[list[Field] | int]) -> None:
    encoder, ours = hpack.Encoder(), decoder()
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
        else:
            assert ours.decode(encoder.encode(step)) == step


@given(LISTS)
def test_another_decoder_reads_what_we_encode_and_learns_nothing_by_it(fields: list[Field]) -> None:
    theirs = hpack.Decoder()
    block = encode_block(fields)
    for _ in range(2):
        assert theirs.decode(block, raw=True) == fields
    assert not theirs.header_table.dynamic_entries


@given(st.binary(max_size=300))
def test_any_bytes_mean_what_they_mean_to_another_decoder_or_are_refused(block: bytes) -> None:
    theirs = hpack.Decoder()
    try:
        expected = [tuple(field) for field in theirs.decode(block, raw=True)]
    except (hpack.HPACKError, IndexError):
        expected = None
    try:
        found = decoder().decode(block)
    except ConnectionFault:
        # hpack takes any number of size updates, and larger numbers.
        return
    assert found == expected


@given(st.binary(max_size=300))
def test_huffman_texts_are_those_of_another_encoder(text: bytes) -> None:
    encoded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert decode_huffman(encoded) == text


@given(st.binary(max_size=40))
def test_any_bytes_are_a_huffman_text_to_us_if_they_are_to_another(text: bytes) -> None:
    try:
        expected = bytes(theirs(text))
    except hpack.HPACKDecodingError:
        with pytest.raises(NotHuffman):
            decode_huffman(text)
    else:
        assert decode_huffman(text) == expected


def test_never_indexed_fields_stay_so() -> None:
    encoder = hpack.Encoder()
    secret = hpack.NeverIndexedHeaderTuple(b"authorization", b"secret")
    (field,) = decoder().decode(encoder.encode([secret]))
    assert isinstance(field, SensitiveField)
    assert encode_field(field)[0] & 0xF0 == 0x10
    (again,) = hpack.Decoder().decode(encode_field(field), raw=True)
    assert isinstance(again, hpack.NeverIndexedHeaderTuple)
    assert encode_field(SensitiveField((b"x-secret", b"1")))[0] == 0x10
    # Not even where the table has them.
    assert encode_field(SensitiveField((b":path", b"/")))[0] & 0xF0 == 0x10


@given(st.integers(0, 2**20), st.integers(1, 8))
def test_integers_are_those_of_another_encoder(value: int, prefix: int) -> None:
    assert encode_integer(value, prefix, 0) == bytes(hpack.hpack.encode_integer(value, prefix))


def test_the_generation_changes_with_the_table_and_only_then() -> None:
    ours = decoder()
    encoder = hpack.Encoder()
    first = encoder.encode([(b"a", b"b")])
    ours.decode(first)
    changed = ours.generation
    assert changed > 0
    ours.decode(encoder.encode([(b"a", b"b")]))
    ours.decode(b"\x82" + encode_block([(b"x", b"y")]))
    assert ours.generation == changed
    ours.decode(b"\x20")
    assert ours.generation > changed


def test_an_entry_larger_than_the_table_empties_it() -> None:
    ours = decoder()
    ours.decode(b"\x40\1a\1b")
    ours.decode(b"\x40\1c" + encode_integer(4096, 7, 0) + bytes(4096))
    with pytest.raises(ConnectionFault):
        ours.decode(b"\xbe")


BROKEN = {
    "index 0": b"\x80",
    "an index beyond the table": b"\xbe",
    "a name beyond the table": b"\x7e\1x",
    "an index that is cut off": b"\xff",
    "an index without end": b"\xff\xff\xff\xff\xff\xff\1",
    "a literal without a name": b"\x40",
    "a literal without a value": b"\x40\1a",
    "a name that is cut off": b"\x40\5a",
    "a value that is cut off": b"\x40\1a\5b",
    "a length that is cut off": b"\x40\x7f",
    "a name's index that is cut off": b"\x0f",
    "Huffman padding that is too long": b"\x40\1a\x82\xff\xff",
    "a size update that is cut off": b"\x3f",
    "a table larger than allowed": b"\x3f\xe2\x1f",
    "a size update after a field": b"\x82\x20",
    "many size updates": b"\x20" * 17,
}


@pytest.mark.parametrize("block", BROKEN.values(), ids=BROKEN)
def test_a_broken_block_is_a_compression_error(block: bytes) -> None:
    assert broken(block) is ErrorCode.COMPRESSION_ERROR


def test_a_long_broken_huffman_text_is_one_too() -> None:
    text = b"\xff" * 200
    assert broken(b"\x40\1a" + encode_integer(200, 7, 0x80) + text) is ErrorCode.COMPRESSION_ERROR


def test_a_block_that_grows_without_end_is_cut() -> None:
    ours = decoder()
    ours.decode(b"\x40\1a" + encode_integer(4000, 7, 0) + bytes(4000))
    with pytest.raises(ConnectionFault) as caught:
        ours.decode(b"\xbe" * 60000)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def seconds_of(work: Callable[[], object]) -> float:
    """Of the processor, whatever else runs here."""
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def seconds_for(fields: int) -> float:
    block = b"\x00\x00\x00" * fields
    return seconds_of(lambda: HpackDecoder(10**9).decode(block))


def test_many_short_fields_take_time_by_their_number() -> None:
    """The hpack library copies the rest of the block for each: time by the square."""
    few = min(seconds_for(2_000) for _ in range(5))
    many = min(seconds_for(40_000) for _ in range(5))
    assert many < 100 * few
