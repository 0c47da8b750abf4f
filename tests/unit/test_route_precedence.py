"""The order in which routes are tried: Gateway API's precedence, and Istio's lists."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_requests import exact, header, prefix, regex, request, route, with_hosts

from edgemesh.model.routes import Comparison, NamedMatch, Route, TextMatch
from edgemesh.policy.routing.precedence import RouteObject, order_routes
from edgemesh.policy.routing.table import RouteTable

VERSION = NamedMatch("version", Comparison.EXACT, "one")
COLOUR = NamedMatch("colour", Comparison.EXACT, "blue")


def keys(*objects: RouteObject) -> list[str]:
    return [placed.key for placed in order_routes(objects)]


def one_object(*routes: Route) -> RouteObject:
    return RouteObject(routes, "2026-01-01T00:00:00Z", "default/web")


# Each pair: what is tried first, then what is tried after it.
RANKED = {
    "an exact path before a longer prefix": (exact("/a"), prefix("/a/longer")),
    "a longer prefix before a shorter": (prefix("/a/b"), prefix("/a")),
    "an exact path before a regular expression": (exact("/a"), regex("/a.*")),
    "a regular expression before a prefix": (regex("/.*"), prefix("/a/b/c")),
    "a longer regular expression before a shorter": (regex("/a[0-9]+"), regex("/.*")),
    "any prefix before no condition": (prefix("/a"), None),
    "text prefixes by their length": (
        TextMatch(Comparison.TEXT_PREFIX, "/ab"),
        TextMatch(Comparison.TEXT_PREFIX, "/a"),
    ),
}


@pytest.mark.parametrize("pair", RANKED.values(), ids=RANKED.keys())
def test_paths_rank(pair: tuple[TextMatch, TextMatch | None]) -> None:
    first, second = pair
    assert keys(one_object(route("second", second), route("first", first))) == ["first", "second"]


def test_a_trailing_slash_makes_no_prefix_longer() -> None:
    both = one_object(route("1", prefix("/")), route("2", None), route("3", prefix("/")))
    assert keys(both) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            route("first", prefix("/a"), method="GET"),
            route("second", prefix("/a"), headers=(VERSION, COLOUR)),
        ),
        (
            route("first", prefix("/a"), headers=(VERSION, COLOUR)),
            route("second", prefix("/a"), headers=(VERSION,), query=(VERSION, COLOUR)),
        ),
        (
            route("first", prefix("/a"), query=(VERSION, COLOUR)),
            route("second", prefix("/a"), query=(VERSION,)),
        ),
        (route("first", prefix("/aa")), route("second", prefix("/a"), method="GET")),
    ],
    ids=["method", "headers", "query", "path"],
)
def test_a_criterion_counts_only_where_those_before_it_are_equal(
    first: Route, second: Route
) -> None:
    assert keys(one_object(second, first)) == ["first", "second"]


def test_of_equal_matches_the_oldest_object_is_first_then_the_first_by_name() -> None:
    young = RouteObject((route("young"),), "2026-02-01T00:00:00Z", "a/a")
    old_b = RouteObject((route("old-b"),), "2026-01-01T00:00:00Z", "b/b")
    old_c = RouteObject((route("old-c"),), "2026-01-01T00:00:00Z", "c/c")
    assert keys(young, old_c, old_b) == ["old-b", "old-c", "young"]


def test_equal_matches_of_one_object_are_tried_as_it_lists_them() -> None:
    assert keys(one_object(route("z"), route("a"), route("m"))) == ["z", "a", "m"]


def test_an_exact_host_is_before_a_wildcard_and_a_longer_wildcard_before_a_shorter() -> None:
    paths = (route("any", exact("/x")),)
    objects = [
        RouteObject(with_hosts((route(host),), host), "", host)
        for host in ("*", "*.org", "*.example.org", "a.example.org")
    ]
    assert keys(RouteObject(paths, "", "any"), *objects) == [
        "a.example.org",
        "*.example.org",
        "*.org",
        "any",
        "*",
    ]


def test_each_host_of_a_route_has_its_own_place() -> None:
    mixed = with_hosts((route("mixed"),), "a.example.org", "*.org", "b.example.org")
    other = with_hosts((route("other"),), "*.example.org")
    ordered = order_routes([RouteObject(mixed, "", "a/mixed"), RouteObject(other, "", "b/other")])
    assert [(placed.key, placed.match.hosts) for placed in ordered] == [
        ("mixed", ("a.example.org", "b.example.org")),
        ("other", ("*.example.org",)),
        ("mixed", ("*.org",)),
    ]
    table = RouteTable(ordered)
    assert table.match(request("x.example.org/"), None) == ordered[1]


def virtual_service(*routes: Route, name: str = "default/vs") -> RouteObject:
    return RouteObject(routes, "2026-01-01T00:00:00Z", name, keeps_order=True)


def test_a_virtual_service_is_tried_as_it_is_listed() -> None:
    listed = (route("1", prefix("/")), route("2", exact("/a")), route("3", regex("/b")))
    assert keys(virtual_service(*listed)) == ["1", "2", "3"]


def test_routes_of_others_find_their_place_around_a_virtual_service() -> None:
    listed = virtual_service(route("vs-1", exact("/a")), route("vs-2"), route("vs-3", exact("/b")))
    others = one_object(route("exact", exact("/c")), route("prefix", prefix("/d")), route("any"))
    ordered = ["vs-1", "exact", "prefix", "vs-2", "vs-3", "any"]
    assert keys(others, listed) == ordered


def test_hosts_rank_between_virtual_services() -> None:
    wide = virtual_service(*with_hosts((route("wide", exact("/a")),), "*.org"), name="a/wide")
    narrow = virtual_service(*with_hosts((route("narrow"),), "a.org"), name="b/narrow")
    assert keys(wide, narrow) == ["narrow", "wide"]


paths = st.none() | st.builds(
    TextMatch, st.sampled_from(Comparison), st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab"])
)
hosts = st.lists(st.sampled_from(["a.b.c", "b.c", "*.b.c", "*.c"]), unique=True).map(tuple)
routes = st.lists(
    st.builds(
        route,
        st.uuids().map(str),
        paths,
        method=st.sampled_from(["", "GET"]),
        headers=st.sampled_from([(), (VERSION,)]),
        hosts=hosts,
    ),
    max_size=6,
).map(tuple)
objects = st.lists(
    st.builds(
        RouteObject,
        routes,
        st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
        st.uuids().map(str),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda each: each.name,
)


@given(objects, st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_objects(
    given_objects: list[RouteObject], random: Random
) -> None:
    shuffled = list(given_objects)
    random.shuffle(shuffled)
    assert order_routes(shuffled) == order_routes(given_objects)


@given(objects)
def test_a_virtual_service_keeps_its_order_for_each_host(given_objects: list[RouteObject]) -> None:
    ordered = order_routes(given_objects)
    for listed in given_objects:
        if listed.keeps_order:
            for host in ("a.b.c", "*.b.c", "*.c", None):
                before = [one.key for one in listed.routes if host_of(one, host)]
                after = [one.key for one in ordered if host_of(one, host) and one.key in before]
                assert after == before


def host_of(one: Route, host: str | None) -> bool:
    return host in one.match.hosts if host else not one.match.hosts


@given(objects)
def test_no_route_is_lost_and_none_gains_a_host(given_objects: list[RouteObject]) -> None:
    listed = {(one.key, host) for each in given_objects for one in each.routes
              for host in one.match.hosts or ("",)}  # fmt: skip
    placed = [(one.key, host) for one in order_routes(given_objects)
              for host in one.match.hosts or ("",)]  # fmt: skip
    assert set(placed) == listed
    assert len(placed) == len(listed)


# Gateway API conformance, HTTPRoutePathMatchOrder, -Matching, -MatchingAcrossRoutes,
# -MethodMatching, -QueryParamMatching: what is asked for, and which backend has to get it.
PATH_ORDER = one_object(
    route("v3", exact("/match/exact/one")),
    route("v2", exact("/match/exact")),
    route("v1", exact("/match")),
    route("v2", prefix("/match/prefix/one")),
    route("v1", prefix("/match/prefix/")),
    route("v3", prefix("/match")),
)
ACROSS = (
    RouteObject(
        with_hosts(
            (route("v1", prefix("/")), route("v1", headers=(header("version", "one"),))),
            "example.com",
            "example.net",
        ),
        "",
        "infra/matching-part1",
    ),
    RouteObject(
        with_hosts(
            (route("v2", prefix("/v2")), route("v2", headers=(header("version", "two"),))),
            "example.com",
        ),
        "",
        "infra/matching-part2",
    ),
)
METHODS = one_object(
    route("v1", method="POST"),
    route("v2", method="GET"),
    route("v1", prefix("/path1"), method="GET"),
    route("v2", headers=(header("version", "one"),), method="PUT"),
    route("v3", prefix("/path2"), headers=(header("version", "two"),), method="POST"),
    route("v1", prefix("/path3"), method="PATCH"),
    route("v1", prefix("/path4"), headers=(header("version", "three"),), method="DELETE"),
    route("v1", prefix("/path5")),
    route("v2", method="PATCH"),
    route("v3", headers=(header("version", "four"),)),
)
WHALE = (header("animal", "whale"),)
QUERY = one_object(
    route("v1", query=WHALE),
    route("v2", query=(header("animal", "dolphin"),)),
    route("v3", query=(header("animal", "dolphin"), header("color", "blue"))),
    route("v3", query=(header("ANIMAL", "Whale"),)),
    route("v1", prefix("/path1"), query=WHALE),
    route("v2", headers=(header("version", "one"),), query=WHALE),
    route("v3", prefix("/path2"), headers=(header("version", "two"),), query=WHALE),
    route("v1", prefix("/path5"), query=(header("animal", "hydra"),)),
    route("v3", headers=(header("version", "four"),), query=(header("animal", "hydra"),)),
)


@pytest.mark.parametrize(
    ("given_objects", "target", "headers", "backend"),
    [
        ((PATH_ORDER,), "/match/exact/one", {}, "v3"),
        ((PATH_ORDER,), "/match/exact", {}, "v2"),
        ((PATH_ORDER,), "/match", {}, "v1"),
        ((PATH_ORDER,), "/match/prefix/one/any", {}, "v2"),
        ((PATH_ORDER,), "/match/prefix/any", {}, "v1"),
        ((PATH_ORDER,), "/match/any", {}, "v3"),
        (ACROSS, "example.com/", {}, "v1"),
        (ACROSS, "example.com/example", {}, "v1"),
        (ACROSS, "example.net/example", {}, "v1"),
        (ACROSS, "example.com/example", {"version": "one"}, "v1"),
        (ACROSS, "example.com/v2", {}, "v2"),
        (ACROSS, "example.net/v2", {}, "v1"),
        (ACROSS, "example.com/v2/example", {}, "v2"),
        (ACROSS, "example.com/", {"version": "two"}, "v2"),
        ((METHODS,), "/", {"method": "POST"}, "v1"),
        ((METHODS,), "/", {"method": "GET"}, "v2"),
        ((METHODS,), "/", {"method": "HEAD"}, None),
        ((METHODS,), "/path1", {"method": "GET"}, "v1"),
        ((METHODS,), "/", {"method": "PUT", "version": "one"}, "v2"),
        ((METHODS,), "/path2", {"method": "POST", "version": "two"}, "v3"),
        ((METHODS,), "/path3", {"method": "PATCH"}, "v1"),
        ((METHODS,), "/path4", {"method": "DELETE", "version": "three"}, "v1"),
        ((METHODS,), "/", {"method": "PUT"}, None),
        ((METHODS,), "/path4", {"method": "DELETE"}, None),
        ((METHODS,), "/path5", {"method": "PATCH"}, "v1"),
        ((METHODS,), "/", {"method": "PATCH", "version": "four"}, "v2"),
        ((QUERY,), "/?animal=whale", {}, "v1"),
        ((QUERY,), "/?animal=dolphin", {}, "v2"),
        ((QUERY,), "/?animal=dolphin&color=blue", {}, "v3"),
        ((QUERY,), "/?ANIMAL=Whale", {}, "v3"),
        ((QUERY,), "/?animal=whale&otherparam=irrelevant", {}, "v1"),
        ((QUERY,), "/?animal=dolphin&color=yellow", {}, "v2"),
        ((QUERY,), "/?color=blue", {}, None),
        ((QUERY,), "/?animal=dog", {}, None),
        ((QUERY,), "/?animal=whaledolphin", {}, None),
        ((QUERY,), "/", {}, None),
        ((QUERY,), "/path1?animal=whale", {}, "v1"),
        ((QUERY,), "/?animal=whale", {"version": "one"}, "v2"),
        ((QUERY,), "/path2?animal=whale", {"version": "two"}, "v3"),
        ((QUERY,), "/path5?animal=hydra", {}, "v1"),
        ((QUERY,), "/?animal=hydra", {"version": "four"}, "v3"),
    ],
)
def test_gateway_api_conformance(
    given_objects: tuple[RouteObject, ...],
    target: str,
    headers: dict[str, str],
    backend: str | None,
) -> None:
    found = RouteTable(order_routes(given_objects)).match(request(target, **headers), None)
    assert (found.key if found else None) == backend
