"""Queries in and out, with dnspython as the other side."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import from_labels
from edgemesh.wire.dns.query import BadQueryError, encode_query, parse_query

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=3)
TYPES = st.integers(1, 0xFFFF).filter(lambda number: number not in codes.REFUSED_TYPES)


def theirs(name: str = "Web.Default.svc", rdtype: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, rdtype, id=7, **options).to_wire()  # type: ignore[arg-type]


def refused(message: bytes) -> dns.message.Message:
    with pytest.raises(BadQueryError) as caught:
        parse_query(message)
    return dns.message.from_wire(caught.value.reply)


def answer_to(message: bytes) -> bytes:
    """What a query that is refused gets back; nothing when it is understood."""
    try:
        parse_query(message)
    except BadQueryError as error:
        return error.reply
    return b""


@given(LABELS, TYPES, st.integers(0, 0xFFFF), st.none() | st.integers(0, 0xFFFF))
def test_queries_of_dnspython_are_understood(
    labels: list[bytes], question_type: int, identifier: int, payload: int | None
) -> None:
    asked = dns.message.make_query(
        dns.name.Name([*labels, b""]),
        question_type,
        id=identifier,
        use_edns=False if payload is None else 0,
        payload=payload or 0,
    )
    query = parse_query(asked.to_wire())
    assert query.identifier == identifier
    assert query.name == from_labels(labels).lower()
    assert query.type == question_type
    assert query.payload_size == (0 if payload is None else max(512, payload))


@given(LABELS, TYPES, st.integers(0, 0xFFFF), st.sampled_from([0, 1232]))
def test_our_queries_are_understood_by_dnspython(
    labels: list[bytes], question_type: int, identifier: int, payload: int
) -> None:
    message = dns.message.from_wire(
        encode_query(identifier, from_labels(labels), question_type, payload)
    )
    assert message.id == identifier
    assert message.flags == dns.flags.RD
    assert message.question[0].name == dns.name.Name([*labels, b""])
    assert message.question[0].rdtype == question_type
    assert (message.edns, message.payload) == ((0, payload) if payload else (-1, 0))


@given(st.binary(max_size=100))
def test_random_bytes_are_a_query_or_a_bad_query(data: bytes) -> None:
    assert len(answer_to(data)) in {0, 12, *range(17, 100)}


@given(st.integers(0, 60), st.integers(0, 255))
def test_one_changed_byte_is_a_query_or_a_bad_query(place: int, byte: int) -> None:
    message = bytearray(theirs(use_edns=0))
    message[place % len(message)] = byte
    reply = answer_to(bytes(message))
    assert not reply or dns.message.from_wire(reply).flags & dns.flags.QR


def test_the_question_is_repeated_in_the_case_it_was_asked_in() -> None:
    query = parse_query(theirs())
    assert query.question == b"\3Web\7Default\3svc\0\0\1\0\1"
    assert query.name == b"\3web\7default\3svc\0"


def test_recursion_desired_and_checking_disabled_are_repeated() -> None:
    message = dns.message.make_query("a", "A", flags=dns.flags.RD | dns.flags.CD | dns.flags.AD)
    assert parse_query(message.to_wire()).flags == codes.RD | codes.CD


@pytest.mark.parametrize("size", range(12))
def test_less_than_a_header_gets_no_answer(size: int) -> None:
    with pytest.raises(BadQueryError) as caught:
        parse_query(theirs()[:size])
    assert caught.value.reply == b""


def test_a_reply_gets_no_answer() -> None:
    reply = dns.message.make_response(dns.message.from_wire(theirs())).to_wire()
    with pytest.raises(BadQueryError) as caught:
        parse_query(reply)
    assert caught.value.reply == b""


def test_another_opcode_is_not_implemented() -> None:
    message = dns.message.make_query("a", "A", id=7)
    message.set_opcode(dns.opcode.NOTIFY)
    reply = refused(message.to_wire())
    assert (reply.id, reply.rcode(), reply.opcode()) == (
        7,
        dns.rcode.NOTIMP,
        dns.opcode.NOTIFY,
    )


def _with_counts(message: bytes, *counts: int) -> bytes:
    return message[:4] + b"".join(count.to_bytes(2, "big") for count in counts) + message[12:]


@pytest.mark.parametrize(
    "message",
    [
        _with_counts(theirs(), 0, 0, 0, 0),
        _with_counts(theirs(), 2, 0, 0, 0),
        _with_counts(theirs(), 1, 1, 0, 0),
        _with_counts(theirs(), 1, 0, 1, 0),
        _with_counts(theirs(), 1, 0, 0, 1),
        _with_counts(theirs(use_edns=0), 1, 0, 0, 2),
        theirs()[:-1],
        theirs()[:-5],
        theirs() + b"x",
        theirs(use_edns=0) + b"x",
        theirs(use_edns=0)[:-1],
        theirs(use_edns=0)[:-11] + b"\0\0\1" + theirs(use_edns=0)[-8:],
        theirs(use_edns=0)[:-11] + b"\1" + theirs(use_edns=0)[-10:],
    ],
    ids=[
        "no question",
        "two questions",
        "an answer",
        "an authority",
        "a missing OPT",
        "a missing second additional",
        "class cut off",
        "name cut off",
        "more behind",
        "more behind OPT",
        "OPT cut off",
        "A in place of OPT",
        "OPT of a name",
    ],
)
def test_a_malformed_query_is_a_format_error_under_its_identifier(message: bytes) -> None:
    reply = refused(message)
    assert (reply.id, reply.rcode()) == (7, dns.rcode.FORMERR)


def test_another_edns_version_is_answered_with_ours() -> None:
    reply = refused(theirs(use_edns=1))
    assert (reply.rcode(), reply.edns) == (dns.rcode.BADVERS, 0)
    assert reply.question[0].name == dns.name.from_text("web.default.svc")


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR", "OPT", "TSIG"])
def test_zone_transfers_and_meta_types_are_refused(rdtype: str) -> None:
    message = dns.message.Message(id=7)
    message.find_rrset(
        message.question,
        dns.name.from_text("cluster.local"),
        dns.rdataclass.IN,
        dns.rdatatype.from_text(rdtype),
        create=True,
        force_unique=True,
    )
    assert refused(message.to_wire()).rcode() == dns.rcode.REFUSED


def test_another_class_is_refused() -> None:
    assert refused(theirs("version.bind", "TXT", rdclass="CH")).rcode() == dns.rcode.REFUSED
