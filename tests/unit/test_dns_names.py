"""Names: text, labels, compression, against dnspython."""

from __future__ import annotations

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.dns import names
from edgemesh.wire.dns.names import FormatError
from edgemesh.wire.dns.reverse import address_of

HEADER = bytes(12)
LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=3)


@given(LABELS)
def test_a_name_of_labels_is_the_one_of_dnspython_and_gives_them_back(labels: list[bytes]) -> None:
    name = names.from_labels(labels)
    assert names.to_labels(name) == tuple(labels)
    assert name == dns.name.Name([*labels, b""]).to_wire()


@given(LABELS)
def test_a_name_is_read_back_from_a_message_with_the_offset_behind_it(labels: list[bytes]) -> None:
    name = names.from_labels(labels)
    assert names.read_name(HEADER + name + b"rest", 12) == (name, 12 + len(name))


@given(st.binary(max_size=80), st.integers(0, 80))
def test_random_bytes_are_a_name_or_a_format_error(data: bytes, offset: int) -> None:
    try:
        name, end = names.read_name(data, offset)
    except FormatError:
        return
    assert offset < end <= len(data)
    assert len(name) <= names.LONGEST_NAME


@pytest.mark.parametrize("text", ["", "."])
def test_no_text_is_the_root(text: str) -> None:
    assert names.from_text(text) == names.ROOT


def test_text_in_any_case_gives_the_canonical_name() -> None:
    assert names.from_text("Web.Default.svc.") == b"\3web\7default\3svc\0"


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, "bücher.example", ".".join("a" * 128)])
def test_text_that_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        names.from_text(text)


def test_a_pointer_continues_a_name_and_the_offset_is_behind_the_pointer() -> None:
    message = HEADER + b"\3svc\0" + b"\3web\xc0\x0c" + b"rest"
    assert names.read_name(message, 17) == (b"\3web\3svc\0", 23)


@pytest.mark.parametrize(
    ("message", "offset"),
    [
        (HEADER + b"\xc0\x0c", 12),
        (HEADER + b"\xc0\x00\0", 12),
        (HEADER + b"\1a\xc0\x0e", 12),
        (HEADER + b"\xc0\x10\0\0\0", 12),
        (HEADER + b"\xc0", 12),
        (HEADER + b"\x40a\0", 12),
        (HEADER + b"\x05ab", 12),
        (HEADER + b"\3abc", 12),
        (HEADER + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\xc0\x0c", 76),
        (HEADER + b"\x3f" * 64 * 4 + b"\0", 12),
    ],
)
def test_dishonest_names_are_refused(message: bytes, offset: int) -> None:
    with pytest.raises(FormatError):
        names.read_name(message, offset)


def test_a_long_chain_of_pointers_is_refused_before_it_costs_anything() -> None:
    chain = b"".join(
        (0xC000 | (12 if place == 0 else 11 + 2 * place)).to_bytes(2, "big") for place in range(200)
    )
    message = HEADER + b"\0" + chain
    assert names.read_name(message, 13 + 2 * 100)[0] == names.ROOT
    with pytest.raises(FormatError):
        names.read_name(message, 13 + 2 * 199)


@given(st.ip_addresses())
def test_reverse_names_give_the_address(address: object) -> None:
    name = names.from_text(address.reverse_pointer)  # type: ignore[attr-defined]
    assert address_of(name) == str(address)


@pytest.mark.parametrize(
    "text",
    [
        "1.0.0.in-addr.arpa",
        "256.0.0.10.in-addr.arpa",
        "01.0.0.10.in-addr.arpa",
        "x.0.0.10.in-addr.arpa",
        "1.2.3.ip6.arpa",
        "g." + "0." * 31 + "ip6.arpa",
        "example.com",
    ],
)
def test_other_names_stand_for_no_address(text: str) -> None:
    assert address_of(names.from_text(text)) is None
