"""JSON texts are read one after the other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.documents import DocumentError
from edgemesh.wire.json_stream import looks_like_json, read_json

LIMITS = ManifestLimits(max_depth=8)


def values(data: bytes) -> list[Any]:
    return [document.value for document in read_json(data, LIMITS)]


@pytest.mark.parametrize("data", [b'{"a": 1}', b" \n{ \t}", b'\xef\xbb\xbf{"a": 1}'])
def test_an_object_at_the_start_means_json(data: bytes) -> None:
    assert looks_like_json(data)


@pytest.mark.parametrize("data", [b"", b"a: 1", b"{a: 1}", b"[]", b"# {}"])
def test_anything_else_does_not(data: bytes) -> None:
    assert not looks_like_json(data)


def test_texts_are_counted_from_one() -> None:
    documents = list(read_json(b'{"a": 1}\n\t{"b": 2}{"c": 3}\r\n', LIMITS))
    assert [(document.number, document.value) for document in documents] == [
        (1, {"a": 1}),
        (2, {"b": 2}),
        (3, {"c": 3}),
    ]


def test_a_surrogate_pair_is_one_character() -> None:
    assert values(rb'{"a": "\ud83d\ude00"}') == [{"a": "\U0001f600"}]


def test_the_depth_that_is_allowed_is_read() -> None:
    assert values(b'{"a": [[[[[[[]]]]]]]}') == [{"a": [[[[[[[]]]]]]]}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1,\n "b" 2}', "document 1, line 2, column 6: Expecting ':' delimiter"),
        (b'{"a": 1} {"b": ', "document 2, line 1, column 16: Expecting value"),
        (b'{"a": 1, "b": 2, "a": 3}', 'document 1: duplicate key "a"'),
        (b'{"a": NaN}', "document 1: NaN is not a JSON value"),
        (b'{"a": 1e999}', "document 1: a number beyond the range of a double"),
        (b'{"a": 18446744073709551616}', "document 1: an integer of more than 64 bits"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "document 1: an integer of more than 64 bits"),
        (rb'{"a": "\ud83d"}', "document 1: half of a surrogate pair"),
        (b'{"a":\n "\xff"}', "line 2: not UTF-8 text: invalid start byte"),
        (b'{"a": [[[[[[[[]]]]]]]]}', "document 1: more than 8 levels deep"),
        (b'{"a": [[[[[[[{}]]]]]]]}', "document 1: more than 8 levels deep"),
        (b'{"a":' * 100_000, "document 1: more than 8 levels deep"),
    ],
)
def test_what_is_not_accepted_is_named_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        values(data)
    assert str(caught.value) == message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=3), st.booleans())
def test_what_was_written_as_json_is_read_back(documents: list[Any], ascii_only: bool) -> None:
    text = "\n".join(json.dumps(value, ensure_ascii=ascii_only) for value in documents)
    data = text.encode(errors="surrogatepass")
    try:
        read = [document.value for document in read_json(data, ManifestLimits())]
    except DocumentError:
        # Keys may have got half a surrogate pair, which no UTF-8 text can carry.
        with pytest.raises(UnicodeEncodeError):
            json.dumps(documents, ensure_ascii=False).encode()
    else:
        assert read == documents
