"""Which route a connection takes, and in which order routes are tried."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.policy.routing.connections import (
    ConnectionRouteObject,
    connection_route,
    order_connection_routes,
)
from edgemesh.policy.routing.request import Caller

TO_V1 = (Backend("default", "v1", 443),)
LABELS = st.sampled_from(["a", "b", "web"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(NAMES, NAMES.map("*.{}".format), st.just("*"))


def named(*names: str, key: str = "") -> ConnectionRoute:
    return ConnectionRoute(key or " ".join(names), TO_V1, server_names=names)


def matches(route: ConnectionRoute, name: str = "", *alpn: str, caller: Caller | None) -> bool:
    return connection_route((route,), name, alpn, caller) is route


@pytest.mark.parametrize(
    ("pattern", "name", "holds"),
    [
        ("web.example.org", "web.example.org", True),
        ("web.example.org", "a.web.example.org", False),
        ("web.example.org", "", False),
        ("*.example.org", "web.example.org", True),
        ("*.example.org", "a.web.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", ".example.org", False),
        ("*.example.org", "badexample.org", False),
        ("*.example.org", "", False),
        ("*", "web.example.org", True),
        ("*", "", False),
    ],
)
def test_a_name_is_exact_or_below_a_wildcard(pattern: str, name: str, *, holds: bool) -> None:
    assert matches(named(pattern), name, caller=None) is holds
    assert matches(named("other", pattern), name, caller=None) is holds


def test_without_names_every_connection_is_meant() -> None:
    assert matches(ConnectionRoute("any", TO_V1), "", caller=None)
    assert matches(ConnectionRoute("any", TO_V1), "web.example.org", caller=None)


def test_one_of_the_offered_protocols_has_to_be_among_those_of_the_route() -> None:
    route = ConnectionRoute("h2", TO_V1, alpn=("h2", "h3"))
    assert matches(route, "", "http/1.1", "h2", caller=None)
    assert not matches(route, "", "http/1.1", caller=None)
    assert not matches(route, "", caller=None)


@pytest.mark.parametrize(
    ("namespace", "labels", "holds"),
    [
        ("", {}, True),
        ("shop", {}, True),
        ("other", {}, False),
        ("", {"app": "cart"}, True),
        ("", {"app": "cart", "version": "2"}, False),
        ("shop", {"app": "web"}, False),
    ],
)
def test_who_calls_may_matter(namespace: str, labels: Mapping[str, str], *, holds: bool) -> None:
    route = ConnectionRoute(
        "from", TO_V1, source_labels=tuple(labels.items()), source_namespace=namespace
    )
    assert matches(route, caller=Caller("shop", {"app": "cart", "version": "1"})) is holds
    assert matches(route, caller=None) is not (namespace or labels)


def test_the_first_that_matches_is_taken_and_none_where_none_does() -> None:
    routes = named("a"), named("*", key="first"), named("*", key="second")
    assert connection_route(routes, "b", (), None) is routes[1]
    assert connection_route(routes, "", (), None) is None


@pytest.mark.parametrize(
    ("route", "needs"),
    [
        (ConnectionRoute("any", TO_V1), False),
        (ConnectionRoute("from", TO_V1, source_namespace="shop"), False),
        (named("web"), True),
        (ConnectionRoute("h2", TO_V1, alpn=("h2",)), True),
    ],
)
def test_only_what_a_client_says_has_to_be_waited_for(
    route: ConnectionRoute, *, needs: bool
) -> None:
    assert route.needs_hello is needs


def test_the_more_of_a_name_a_route_says_the_sooner_it_is_tried() -> None:
    listed = (
        ConnectionRoute("any", TO_V1),
        named("*", "a.example.org", key="both"),
        named("*.org"),
        named("*.example.org"),
        named("b.example.org"),
    )
    ordered = order_connection_routes([ConnectionRouteObject(listed, "", "default/web")])
    assert [(route.key, route.server_names) for route in ordered] == [
        ("both", ("a.example.org",)),
        ("b.example.org", ("b.example.org",)),
        ("*.example.org", ("*.example.org",)),
        ("*.org", ("*.org",)),
        ("any", ()),
        ("both", ("*",)),
    ]


def test_of_routes_for_one_name_those_that_ask_for_a_protocol_come_first() -> None:
    objects = [
        ConnectionRouteObject((named("a.org", key="old"),), "2025", "old"),
        ConnectionRouteObject(
            (ConnectionRoute("h2", TO_V1, server_names=("a.org",), alpn=("h2",)),), "2026", "h2"
        ),
        ConnectionRouteObject((ConnectionRoute("any h2", TO_V1, alpn=("h2",)),), "2024", "any"),
    ]
    assert [route.key for route in order_connection_routes(objects)] == ["h2", "old", "any h2"]


def test_among_equals_the_older_object_comes_first_then_the_name() -> None:
    objects = [
        ConnectionRouteObject((named("*", key=key),), created, key)
        for key, created in (("b", "2026"), ("a", "2026"), ("c", "2025"))
    ]
    assert [route.key for route in order_connection_routes(objects)] == ["c", "a", "b"]


@given(patterns=st.lists(PATTERNS, min_size=1, max_size=6), name=NAMES)
def test_whatever_the_order_as_written_the_route_that_says_most_is_taken(
    patterns: list[str], name: str
) -> None:
    listed = tuple(named(pattern) for pattern in patterns)
    ordered = order_connection_routes([ConnectionRouteObject(listed, "", "default/web")])
    found = connection_route(ordered, name, (), None)
    fitting = [
        pattern
        for pattern in patterns
        if pattern == name
        or (pattern[0] == "*" and f".{name}".endswith(pattern[1:]) and pattern[2:] != name)
    ]
    if found is None:
        assert not fitting
    else:
        assert found.key in fitting
        assert found.key == name or name not in fitting
        assert all(len(found.key) >= len(pattern) for pattern in fitting if "*" in found.key)
