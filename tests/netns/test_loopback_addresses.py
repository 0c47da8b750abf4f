"""Addresses on the loopback interface come and go, each once."""

from __future__ import annotations

import pytest
from interception_lab import Lab, inside, listener, state_of

from edgemesh.kernel.addresses import add_address, node_addresses, remove_address

pytestmark = pytest.mark.root


@pytest.mark.parametrize("address", ["169.254.96.16", "fd00:96::53"])
def test_an_address_can_be_bound_at_once_and_leaves_no_trace(lone_node: str, address: str) -> None:
    before = state_of(lone_node)
    assert inside(lone_node, lambda: add_address(address))
    listener(lone_node, address, 53).close()
    assert not inside(lone_node, lambda: add_address(address))
    assert inside(lone_node, lambda: remove_address(address))
    assert not inside(lone_node, lambda: remove_address(address))
    assert state_of(lone_node) == before


def test_an_address_of_another_interface_is_not_added_again(pod_node_server: Lab) -> None:
    assert not pod_node_server.on_node(lambda: add_address("10.1.0.1"))
    assert not pod_node_server.on_node(lambda: add_address("fd01:0:0::1"))


def test_the_nodes_addresses_are_listed_in_canonical_text(pod_node_server: Lab) -> None:
    found = pod_node_server.on_node(node_addresses)
    assert {"127.0.0.1", "::1", "10.1.0.1", "fd01::1", "10.2.0.1", "fd02::1"} <= found
