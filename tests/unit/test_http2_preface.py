"""HTTP/2 with prior knowledge starts with the 24 bytes of RFC 9113 section 3.4."""

from __future__ import annotations

import pytest

from edgemesh.wire.http2_preface import PREFACE, recognise_preface


def test_the_preface_is_that_of_rfc_9113() -> None:
    assert bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a") == PREFACE


def test_the_preface_and_what_follows_it_is_recognised() -> None:
    assert recognise_preface(PREFACE)
    assert recognise_preface(PREFACE + b"\0\0\0\4\0\0\0\0\0")


@pytest.mark.parametrize("size", range(1, len(PREFACE)))
def test_a_prefix_is_pending_and_settled_by_the_first_wrong_byte(size: int) -> None:
    assert recognise_preface(PREFACE[:size]) is None
    assert recognise_preface(PREFACE[:size] + b"\0") is False
