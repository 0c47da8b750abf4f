"""Endpoints of every source become groups; those that may be called are chosen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import endpoint, endpoint_slice, endpoints_object

from edgemesh.model.services import Endpoint
from edgemesh.policy.endpoint_groups import (
    EndpointGroup,
    EndpointRecord,
    PortRecord,
    State,
    choose_endpoints,
    group_of_slice,
    groups_of_endpoints,
)
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.endpoints import Endpoints, EndpointSlice


def group(*endpoints: dict[str, Any], **fields: Any) -> EndpointGroup:
    return group_of_slice(decode_as(EndpointSlice, endpoint_slice(*endpoints, **fields)))


def record(address: str, state: State = State.READY, **fields: str) -> EndpointRecord:
    known = {"node": "", "zone": "", "pod": "", "hostname": "", **fields}
    return EndpointRecord(address, state, **known)


def test_a_slice_is_one_group() -> None:
    found = group(
        endpoint("10.0.0.1", pod_name="web-1", nodeName="edge-1", zone="a", hostname="first"),
        endpoint("10.0.0.2"),
        port_name="http",
    )
    assert found == EndpointGroup(
        (PortRecord("http", "TCP", 8080),),
        (
            record("10.0.0.1", node="edge-1", zone="a", pod="default/web-1", hostname="first"),
            record("10.0.0.2"),
        ),
    )


def test_an_endpoints_object_has_a_group_for_each_subset() -> None:
    body = endpoints_object("10.0.0.1", not_ready=("10.0.0.2",))
    body["subsets"].append({"addresses": [{"ip": "FD00::0:1", "nodeName": "edge-1"}]})
    assert groups_of_endpoints(decode_as(Endpoints, body)) == (
        EndpointGroup(
            (PortRecord("", "TCP", 8080),),
            (record("10.0.0.1"), record("10.0.0.2", State.NOT_READY)),
        ),
        EndpointGroup((), (record("fd00::1", node="edge-1"),)),
    )


def test_an_endpoint_with_several_addresses_is_called_by_the_first() -> None:
    body = endpoint("10.0.0.1")
    body["addresses"] = ["10.0.0.1", "10.0.0.2"]
    assert [found.address for found in group(body).endpoints] == ["10.0.0.1"]


def test_an_endpoint_without_an_address_is_none() -> None:
    assert group({"addresses": []}).endpoints == ()


def test_a_slice_of_names_has_no_endpoints() -> None:
    assert group(endpoint("web.example"), family="FQDN").endpoints == ()


def test_a_port_without_a_number_is_left_out() -> None:
    body = endpoint_slice(endpoint("10.0.0.1"))
    body["ports"] = [{"name": "all"}]
    assert group_of_slice(decode_as(EndpointSlice, body)).ports == ()


def test_only_a_pod_is_named() -> None:
    body = endpoint("10.0.0.1", targetRef={"kind": "Node", "name": "edge-1"})
    assert group(body).endpoints[0].pod == ""


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, State.READY),
        ({"ready": True, "terminating": True}, State.READY),
        ({"ready": False}, State.NOT_READY),
        ({"ready": False, "terminating": True}, State.LAST_RESORT),
        ({"ready": False, "serving": True, "terminating": True}, State.LAST_RESORT),
        ({"ready": False, "serving": False, "terminating": True}, State.NOT_READY),
        ({"ready": False, "serving": True, "terminating": False}, State.NOT_READY),
    ],
)
def test_conditions_that_are_unknown_count_as_kube_proxy_counts_them(
    conditions: dict[str, bool], state: State
) -> None:
    assert group(endpoint("10.0.0.1", conditions=conditions)).endpoints[0].state == state


@pytest.mark.parametrize(
    ("states", "publish", "chosen"),
    [
        ([State.READY, State.NOT_READY, State.LAST_RESORT], False, [0]),
        ([State.NOT_READY, State.LAST_RESORT, State.LAST_RESORT], False, [1, 2]),
        ([State.NOT_READY], False, []),
        ([], False, []),
        ([State.READY, State.NOT_READY, State.LAST_RESORT], True, [0, 1, 2]),
    ],
)
def test_the_ready_are_called_and_else_those_that_serve_to_the_last(
    states: list[State], publish: bool, chosen: list[int]
) -> None:
    candidates = [(record(f"10.0.0.{i}", state), 80) for i, state in enumerate(states)]
    found = choose_endpoints(candidates, {}, {}, publish=publish)
    assert [endpoint.address for endpoint in found] == [f"10.0.0.{i}" for i in chosen]


def test_the_zone_is_the_sources_or_else_the_nodes() -> None:
    candidates = [
        (record("10.0.0.1", node="n", zone="own"), 80),
        (record("10.0.0.2", node="n"), 80),
        (record("10.0.0.3", node="unknown"), 80),
    ]
    found = choose_endpoints(candidates, {"n": "of-node"}, {}, publish=False)
    assert [endpoint.zone for endpoint in found] == ["own", "of-node", ""]


RECORDS = st.lists(
    st.tuples(
        st.builds(
            record, st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), st.sampled_from(State)
        ),
        st.sampled_from([80, 81]),
    )
)


@given(RECORDS, st.booleans())
def test_every_address_and_port_is_there_once_and_in_order(
    candidates: list[tuple[EndpointRecord, int]], publish: bool
) -> None:
    found = choose_endpoints(candidates, {}, {}, publish=publish)
    places = [(endpoint.address, endpoint.port) for endpoint in found]
    assert places == sorted(set(places))
    assert set(places) <= {(known.address, port) for known, port in candidates}
    assert all(isinstance(endpoint, Endpoint) for endpoint in found)
    if any(known.state == State.READY for known, _ in candidates):
        assert found
