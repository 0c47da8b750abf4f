"""Every message of the tables is refused, however its bytes come."""

from __future__ import annotations

import http1_cases
import http1_framing_cases
import http1_response_cases
import pytest
from http1_cases import Case
from http1_framing_cases import Body

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import MalformedBody, MalformedHead
from edgemesh.wire.http1.reader import HeadReader

REQUESTS = [*http1_cases.REQUESTS, *http1_framing_cases.REQUESTS]
RESPONSES = http1_response_cases.RESPONSES
BODIES = http1_framing_cases.BODIES
SETTINGS = HttpSettings()


def by_name(case: Case | Body) -> str:
    return case.name


def ends_of_pieces(data: bytes) -> list[int]:
    """Single bytes, or longer pieces of what is long."""
    step = 1 if len(data) < 1000 else 997
    return [*range(step, len(data), step), len(data)]


@pytest.mark.parametrize("case", REQUESTS, ids=by_name)
def test_a_malformed_request_is_refused(case: Case) -> None:
    with pytest.raises(MalformedHead) as refusal:
        HeadReader(SETTINGS).read_request(case.data)
    assert (refusal.value.status, refusal.value.reason) == (case.status, case.reason)


@pytest.mark.parametrize("case", RESPONSES, ids=by_name)
def test_a_malformed_response_is_refused(case: Case) -> None:
    with pytest.raises(MalformedHead) as refusal:
        HeadReader(SETTINGS).read_response(case.data)
    assert (refusal.value.status, refusal.value.reason) == (case.status, case.reason)


@pytest.mark.parametrize("case", [*REQUESTS, *RESPONSES], ids=by_name)
def test_a_malformed_head_is_refused_with_the_same_status_when_it_comes_in_pieces(
    case: Case,
) -> None:
    reader = HeadReader(SETTINGS)
    read = reader.read_response if case in RESPONSES else reader.read_request

    def read_in_pieces() -> None:
        for end in ends_of_pieces(case.data):
            assert read(bytearray(case.data[:end])) is None

    with pytest.raises(MalformedHead) as refusal:
        read_in_pieces()
    assert refusal.value.status == case.status


@pytest.mark.parametrize("case", BODIES, ids=by_name)
def test_a_malformed_chunked_body_is_refused(case: Body) -> None:
    with pytest.raises(MalformedBody) as refusal:
        ChunkScanner(SETTINGS).feed(case.data, 0, len(case.data))
    assert refusal.value.reason == case.reason


@pytest.mark.parametrize("case", BODIES, ids=by_name)
def test_a_malformed_chunked_body_is_refused_when_it_comes_in_pieces(case: Body) -> None:
    scanner = ChunkScanner(SETTINGS)

    def scan_in_pieces() -> None:
        start = 0
        for end in ends_of_pieces(case.data):
            assert scanner.feed(bytearray(case.data), start, end) == -1
            start = end

    with pytest.raises(MalformedBody):
        scan_in_pieces()


def test_there_are_at_least_eighty_malformed_requests() -> None:
    assert len(REQUESTS) >= 80


def test_every_malformed_message_has_a_name_of_its_own() -> None:
    for table in (REQUESTS, RESPONSES, BODIES):
        names = [case.name for case in table]
        assert len(names) == len(set(names))
