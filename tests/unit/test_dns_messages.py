"""Answers out and replies in, with dnspython as the other side."""

from __future__ import annotations

import contextlib

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.dns import codes, records
from edgemesh.wire.dns.encode import encode_response
from edgemesh.wire.dns.names import FormatError, from_labels, from_text
from edgemesh.wire.dns.query import Query, encode_query, parse_query
from edgemesh.wire.dns.records import Content, Record
from edgemesh.wire.dns.response import Response, parse_response

OWNER = from_text("web.default.svc.cluster.local")
NAMES = st.lists(
    st.sampled_from([b"a", b"B", b"svc", b"cluster", b"local", b"x" * 63]), max_size=3
).map(from_labels)
TTLS = st.integers(0, 0x7FFFFFFF)
RECORDS = st.one_of(
    st.builds(records.address_record, NAMES, TTLS, st.ip_addresses().map(str)),
    st.builds(records.cname_record, NAMES, TTLS, NAMES),
    st.builds(records.ptr_record, NAMES, TTLS, NAMES),
    st.builds(records.srv_record, NAMES, TTLS, st.integers(0, 65535), NAMES),
    st.builds(records.txt_record, NAMES, TTLS, st.binary(max_size=255)),
    st.builds(
        records.soa_record,
        NAMES,
        TTLS,
        server=NAMES,
        mailbox=NAMES,
        serial=st.integers(0, 2**40),
        minimum=TTLS,
    ),
    st.builds(lambda owner, ttl, data: Record(owner, 65280, ttl, data), NAMES, TTLS, st.binary()),
)
SECTIONS = st.lists(RECORDS, max_size=6).map(tuple)
CONTENTS = st.builds(
    Content, st.sampled_from([codes.NOERROR, codes.NXDOMAIN]), SECTIONS, SECTIONS, SECTIONS
)


def ask(name: bytes = OWNER, question_type: int = codes.A, payload: int = 0) -> Query:
    return parse_query(encode_query(7, name, question_type, payload))


def reply(query: Query, content: Content, limit: int = codes.LARGEST_MESSAGE) -> bytes:
    return encode_response(query, content, limit=limit, authoritative=True, payload_size=1232)


def lowered(content: Content) -> Content:
    def name_case(record: Record) -> Record:
        data = record.data.lower() if record.type in records.COMPRESSED_TYPES else record.data
        return record._replace(owner=record.owner.lower(), data=data)

    return Content(
        content.rcode, *(tuple(name_case(record) for record in part) for part in content[1:])
    )


@given(CONTENTS, NAMES, st.sampled_from([0, 1232]))
def test_what_we_write_we_read_and_dnspython_reads(
    content: Content, name: bytes, payload: int
) -> None:
    query = ask(name, payload=payload)
    message = reply(query, content)
    response = parse_response(message, 7, name, codes.A)
    assert lowered(response.content) == lowered(content)
    assert (response.truncated, response.edns) == (False, payload > 0)
    parsed = dns.message.from_wire(message, one_rr_per_rrset=True)
    assert [len(parsed.answer), len(parsed.authority), len(parsed.additional)] == [
        len(content.answer),
        len(content.authority),
        len(content.additional),
    ]
    for record, rrset in zip(content.answer, parsed.answer, strict=True):
        assert rrset.name.to_wire().lower() == record.owner.lower()
        assert (rrset.rdtype, rrset.ttl) == (record.type, record.ttl)
        assert rrset[0].to_wire(None).lower() == record.data.lower()


@given(st.data(), CONTENTS, NAMES)
def test_what_dnspython_compresses_we_read(data: st.DataObject, content: Content, name: bytes):
    uncompressed = dns.message.from_wire(reply(ask(name), content), one_rr_per_rrset=True)
    response = parse_response(uncompressed.to_wire(), 7, name, codes.A)
    assert lowered(response.content) == lowered(content)


@given(CONTENTS, st.integers(0, 1500), st.sampled_from([0, 1232]))
def test_an_answer_never_exceeds_the_limit_and_holds_whole_records(
    content: Content, extra: int, payload: int
) -> None:
    query = ask(payload=payload)
    limit = 100 + extra
    message = reply(query, content, limit)
    assert len(message) <= limit
    parsed = dns.message.from_wire(message, one_rr_per_rrset=True)
    kept = len(parsed.answer) + len(parsed.authority)
    required = len(content.answer) + len(content.authority)
    assert bool(parsed.flags & dns.flags.TC) == (kept < required)


@given(st.binary(max_size=120))
def test_random_bytes_are_no_reply(data: bytes) -> None:
    head = encode_query(7, OWNER, codes.A, 0)
    for message in (data, b"\0\7\x81\x80\0\1\0\2\0\1\0\1" + head[12:] + data):
        with contextlib.suppress(FormatError):
            assert isinstance(parse_response(message, 7, OWNER, codes.A), Response)


def test_an_answer_repeats_the_case_of_the_question() -> None:
    query = parse_query(encode_query(7, OWNER.title(), codes.A, 0))
    content = Content(codes.NOERROR, (records.address_record(OWNER, 30, "10.0.0.1"),))
    message = reply(query, content)
    assert OWNER.title() in message
    assert dns.message.from_wire(message).answer[0].name.to_wire() == OWNER.title()


def test_an_answer_with_one_address_takes_sixteen_bytes_more_than_the_query() -> None:
    content = Content(codes.NOERROR, (records.address_record(OWNER, 30, "10.0.0.1"),))
    assert len(reply(ask(), content)) == len(encode_query(7, OWNER, codes.A, 0)) + 16


def test_flags_say_authoritative_and_recursion_available() -> None:
    flags = dns.message.from_wire(reply(ask(), Content(codes.NOERROR))).flags
    assert flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA
    forwarded = encode_response(
        ask(), Content(codes.NOERROR), limit=512, authoritative=False, payload_size=1232
    )
    assert dns.message.from_wire(forwarded).flags == dns.flags.QR | dns.flags.RD | dns.flags.RA


def test_missing_additional_records_do_not_truncate() -> None:
    address = records.address_record(OWNER, 30, "10.0.0.1")
    message = reply(ask(), Content(codes.NOERROR, (address,), (), (address,) * 100), 512)
    parsed = dns.message.from_wire(message, one_rr_per_rrset=True)
    assert not parsed.flags & dns.flags.TC
    assert 0 < len(parsed.additional) < 100


def test_names_beyond_the_reach_of_pointers_are_written_out() -> None:
    far = Record(OWNER, 65280, 30, bytes(0x4000))
    late = records.cname_record(from_text("far.away"), 30, from_text("far.away"))
    content = Content(codes.NOERROR, (far, late, late))
    assert parse_response(reply(ask(), content), 7, OWNER, codes.A).content == content


def their_reply(**changes: object) -> dns.message.Message:
    query = dns.message.make_query("web.default.svc.cluster.local", "A", id=7)
    response = dns.message.make_response(query)
    response.answer.append(
        dns.rrset.from_text("web.default.svc.cluster.local.", 5, "IN", "A", "1.2.3.4")
    )
    for name, value in changes.items():
        setattr(response, name, value)
    return response


@pytest.mark.parametrize(
    "message",
    [
        their_reply(id=8).to_wire(),
        their_reply(flags=dns.flags.RD).to_wire(),
        their_reply(flags=dns.flags.QR | 0x0800).to_wire(),
        their_reply(question=[]).to_wire(),
        their_reply().to_wire() + b"x",
        their_reply().to_wire()[:-1],
        their_reply().to_wire()[:-5],
        their_reply().to_wire()[:-13],
        dns.message.make_response(dns.message.make_query("other.example", "A", id=7)).to_wire(),
        dns.message.make_response(
            dns.message.make_query("web.default.svc.cluster.local", "AAAA", id=7)
        ).to_wire(),
        b"\0" * 11,
    ],
)
def test_what_is_not_the_reply_to_our_question_is_refused(message: bytes) -> None:
    with pytest.raises(FormatError):
        parse_response(message, 7, OWNER, codes.A)


def test_a_truncated_reply_says_so_even_when_its_records_are_cut() -> None:
    message = their_reply(flags=dns.flags.QR | dns.flags.TC).to_wire()[:-3]
    assert parse_response(message, 7, OWNER, codes.A) == Response(
        Content(codes.NOERROR), truncated=True, edns=False
    )


def test_a_format_error_needs_no_question() -> None:
    message = b"\0\7\x80\x01" + bytes(8)
    assert parse_response(message, 7, OWNER, codes.A).content.rcode == codes.FORMERR


def test_the_extended_code_is_part_of_the_response_code() -> None:
    response = their_reply()
    response.use_edns(0)
    response.set_rcode(dns.rcode.BADVERS)
    parsed = parse_response(response.to_wire(), 7, OWNER, codes.A)
    assert (parsed.content.rcode, parsed.edns) == (codes.BADVERS, True)


def test_a_ttl_with_the_highest_bit_is_zero_and_other_classes_are_left_out() -> None:
    tail = encode_query(7, OWNER, codes.A, 0)[12:]
    record = b"\xc0\x0c\0\1\0%c\xff\0\0\0\0\4\1\2\3\4"
    message = b"\0\7\x80\0\0\1\0\2\0\0\0\0" + tail + record % 1 + record % 3
    answer = parse_response(message, 7, OWNER, codes.A).content.answer
    assert answer == (Record(OWNER, codes.A, 0, b"\1\2\3\4"),)


@pytest.mark.parametrize(
    ("kind", "size_and_data"),
    [
        (codes.CNAME, b"\0\1\xc0\x0c"),
        (codes.CNAME, b"\0\5\1a\0xx"),
        (codes.CNAME, b"\0\0"),
        (codes.SOA, b"\0\x0a\0\0" + bytes(8)),
    ],
    ids=["the name leaves the data", "more behind the name", "no name", "an SOA cut off"],
)
def test_names_in_data_must_fill_it(kind: int, size_and_data: bytes) -> None:
    question = encode_query(7, OWNER, codes.A, 0)[12:]
    owner_to_ttl = b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\5"
    message = b"\0\7\x80\0\0\1\0\1\0\0\0\0" + question + owner_to_ttl + size_and_data
    with pytest.raises(FormatError):
        parse_response(message, 7, OWNER, codes.A)
