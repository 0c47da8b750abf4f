"""Who is shut out, as an object and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.bus.pki.checks import Revoked
from edgemesh.bus.pki.revocations import read_revocations, revocations_object
from edgemesh.wire.kubernetes import validate

_NAMES = st.frozensets(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True))
_SERIALS = st.frozensets(st.integers(min_value=1, max_value=2**160))


@given(_NAMES, _SERIALS)
def test_what_is_written_is_read(nodes: frozenset[str], serials: frozenset[int]) -> None:
    revoked = Revoked(nodes, serials)
    body = revocations_object(revoked)
    validate(body)
    assert read_revocations(body) == revoked


@pytest.mark.parametrize(
    "body",
    [{}, {"data": {"nodes": ""}}, {"data": {"nodes": "", "serials": "xyz"}}, {"data": []}],
)
def test_another_object_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"revoked-certificates|invalid literal"):
        read_revocations(body)
