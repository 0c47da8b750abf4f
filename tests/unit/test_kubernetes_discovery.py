"""What a server says it serves is read as recorded, and what is no such answer is told."""

from __future__ import annotations

import msgspec
import pytest
from captured import pairs

from edgemesh.wire.kubernetes_api.discovery import read_group_versions, read_resources
from edgemesh.wire.kubernetes_api.objects import ApiContentError


def test_the_groups_of_a_real_server_are_read() -> None:
    [recorded] = [
        each
        for each in pairs()
        if each["session"] == "API server" and each["request"]["path"] == "/apis"
    ]
    found = read_group_versions(msgspec.json.encode(recorded["body"]))
    assert found == {"apiregistration.k8s.io/v1", "apps/v1"}


def test_resources_and_their_parts_are_read() -> None:
    resources = [{"name": "rules", "kind": "Rule"}, {"name": "rules/status"}]
    body = {"kind": "APIResourceList", "groupVersion": "x/v1", "resources": resources}
    assert read_resources(msgspec.json.encode(body)) == {"rules", "rules/status"}


@pytest.mark.parametrize("data", [b"", b"k8s\0\n\x16", b"[]", b'{"groups": 1, "resources": 1}'])
def test_what_is_no_such_answer_is_told(data: bytes) -> None:
    with pytest.raises(ApiContentError, match="no list of groups"):
        read_group_versions(data)
    with pytest.raises(ApiContentError, match="no list of resources"):
        read_resources(data)
