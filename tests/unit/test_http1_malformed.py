"""Every message of the tables is refused, however its bytes come."""

from __future__ import annotations

import pytest

import http1_cases
import http1_framing_cases
import http1_response_cases
from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import MalformedBody, MalformedHead
from edgemesh.wire.http1.reader import HeadReader
from http1_cases import Case
from http1_framing_cases import Body

REQUESTS = [*http1_cases.REQUESTS, *http1_framing_cases.REQUESTS]
RESPONSES = http1_response_cases.RESPONSES
BODIES = http1_framing_cases.BODIES
SETTINGS = HttpSettings()


def by_name(case: Case | Body) -> str:
    return case.name


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
    step = 1 if len(case.data) < 1000 else 997
    with pytest.raises(MalformedHead) as refusal:
        for end in range(step, len(case.data) + step, step):
            assert read(bytearray(case.data[:end])) is None
    assert refusal.value.status == case.status


@pytest.mark.parametrize("case", BODIES, ids=by_name)
def test_a_malformed_chunked_body_is_refused(case: Body) -> None:
    with pytest.raises(MalformedBody) as refusal:
        ChunkScanner(SETTINGS).feed(case.data, 0, len(case.data))
    assert refusal.value.reason == case.reason


@pytest.mark.parametrize("case", BODIES, ids=by_name)
def test_a_malformed_chunked_body_is_refused_when_it_comes_in_pieces(case: Body) -> None:
    scanner = ChunkScanner(SETTINGS)
    step = 1 if len(case.data) < 1000 else 997
    with pytest.raises(MalformedBody):
        for start in range(0, len(case.data), step):
            end = min(start + step, len(case.data))
            assert scanner.feed(bytearray(case.data), start, end) == -1


def test_there_are_at_least_eighty_malformed_requests() -> None:
    assert len(REQUESTS) >= 80


def test_every_malformed_message_has_a_name_of_its_own() -> None:
    for table in (REQUESTS, RESPONSES, BODIES):
        names = [case.name for case in table]
        assert len(names) == len(set(names))
