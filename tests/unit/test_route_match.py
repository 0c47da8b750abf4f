"""Which route a request takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_requests import Request, exact, header, prefix, regex, request, route

from edgemesh.model.routes import Comparison, NamedMatch, Route, RouteMatch, TextMatch
from edgemesh.policy.routing.path_index import PathIndex
from edgemesh.policy.routing.query import parameter
from edgemesh.policy.routing.request import Caller, header_value
from edgemesh.policy.routing.table import RouteTable, route_table

TEXT = Comparison.TEXT_PREFIX


def takes(match: RouteMatch, asked: Request, caller: Caller | None = None) -> bool:
    return RouteTable((Route("only", match),)).match(asked, caller) is not None


@pytest.mark.parametrize(
    ("condition", "path", "holds"),
    [
        (exact("/a"), "/a", True),
        (exact("/a"), "/a/", False),
        (exact("/a"), "/A", False),
        (prefix("/a"), "/a", True),
        (prefix("/a"), "/a/", True),
        (prefix("/a"), "/a/b", True),
        (prefix("/a"), "/ab", False),
        (prefix("/a/"), "/a", True),
        (prefix("/a/"), "/ab", False),
        (prefix("/"), "/anything", True),
        (prefix("/"), "*", False),
        (prefix("/a"), "/A/b", False),
        (TextMatch(TEXT, "/a"), "/ab", True),
        (TextMatch(TEXT, "/a/"), "/a", False),
        (regex("/a[0-9]+"), "/a12", True),
        (regex("/a[0-9]+"), "/a12/b", False),
        (regex("/(a"), "/a", False),
        (TextMatch(Comparison.EXACT, "/a", ignore_case=True), "/A", True),
        (TextMatch(Comparison.EXACT, "/A", ignore_case=True), "/a", True),
        (TextMatch(Comparison.PREFIX, "/A", ignore_case=True), "/a/B", True),
        (TextMatch(Comparison.PREFIX, "/A", ignore_case=True), "/ab", False),
        (TextMatch(TEXT, "/A", ignore_case=True), "/ab", True),
        (TextMatch(Comparison.REGEX, "/A.*", ignore_case=True), "/ab", True),
        (TextMatch(Comparison.PRESENT, ""), "/a", True),
        (TextMatch(Comparison.ABSENT, ""), "/a", False),
        (None, "*", True),
    ],
)
def test_a_path_condition(condition: TextMatch | None, path: str, holds: bool) -> None:
    assert takes(RouteMatch(path=condition), Request(path)) is holds


@pytest.mark.parametrize(
    ("comparison", "value", "ignore_case", "sent", "holds"),
    [
        (Comparison.EXACT, "2", False, "2", True),
        (Comparison.EXACT, "2", False, "22", False),
        (Comparison.EXACT, "B", True, "b", True),
        (Comparison.EXACT, "", False, "", True),
        (Comparison.EXACT, "", False, None, False),
        (Comparison.PREFIX, "2", False, "22", True),
        (TEXT, "2", False, "12", False),
        (Comparison.REGEX, "2+", False, "22", True),
        (Comparison.REGEX, "2+", False, "122", False),
        (Comparison.REGEX, "2*", False, None, False),
        (Comparison.PRESENT, "", False, "", True),
        (Comparison.PRESENT, "", False, None, False),
        (Comparison.ABSENT, "", False, None, True),
        (Comparison.ABSENT, "", False, "", False),
    ],
)
def test_a_named_condition_and_its_opposite(
    comparison: Comparison, value: str, ignore_case: bool, sent: str | None, holds: bool
) -> None:
    named = NamedMatch("x-v", comparison, value, ignore_case)
    asked = request("/") if sent is None else Request(headers=(("x-v", sent),))
    assert takes(RouteMatch(headers=(named,)), asked) is holds
    assert takes(RouteMatch(headers=(replace(named, negated=True),)), asked) is not holds
    asked = Request(query="" if sent is None else f"x-v={sent}")
    assert takes(RouteMatch(query=(named,)), asked) is holds


def test_an_unusable_regular_expression_holds_for_nobody_not_even_negated() -> None:
    named = NamedMatch("x-v", Comparison.REGEX, "(a+)+")
    for condition in (named, replace(named, negated=True)):
        assert not takes(RouteMatch(headers=(condition,)), Request(headers=(("x-v", "b"),)))


def test_all_conditions_have_to_hold() -> None:
    whole = route(
        "all",
        prefix("/a"),
        method="POST",
        headers=(header("x-v", "1"),),
        query=(header("q", "2"),),
        hosts=("web",),
    ).match
    assert takes(whole, request("web/a/b?q=2", method="POST", x_v="1"))
    for different in (
        request("web/b?q=2", method="POST", x_v="1"),
        request("web/a/b?q=2", method="GET", x_v="1"),
        request("web/a/b?q=2", method="POST", x_v="2"),
        request("web/a/b?q=3", method="POST", x_v="1"),
        request("other/a/b?q=2", method="POST", x_v="1"),
    ):
        assert not takes(whole, different)


@pytest.mark.parametrize(
    ("hosts", "host", "holds"),
    [
        (("a.org",), "a.org", True),
        (("a.org",), "b.a.org", False),
        (("*.a.org",), "b.a.org", True),
        (("*.a.org",), "c.b.a.org", True),
        (("*.a.org",), "a.org", False),
        (("*.a.org",), ".a.org", False),
        (("*.a.org",), "ba.org", False),
        (("*.a.org", "a.org"), "a.org", True),
        (("*",), "anything", True),
        (("b.org", "*"), "a.org", True),
        ((), "anything", True),
    ],
)
def test_a_host_condition(hosts: tuple[str, ...], host: str, holds: bool) -> None:
    assert takes(RouteMatch(hosts=hosts), Request(host=host)) is holds


def test_a_condition_may_be_on_a_pseudo_header() -> None:
    asked = Request("/p", "web", "PUT", "q=1")
    assert takes(RouteMatch(headers=(header(":authority", "we", TEXT),)), asked)
    assert header_value(asked, ":method") == "PUT"
    assert header_value(asked, ":path") == "/p?q=1"
    assert header_value(Request("/p"), ":path") == "/p"
    assert header_value(asked, ":scheme") is None


@pytest.mark.parametrize(
    ("caller", "holds"),
    [
        (Caller("shop", {"app": "cart", "tier": "1"}), True),
        (Caller("shop", {"app": "cart"}), False),
        (Caller("other", {"app": "cart", "tier": "1"}), False),
        (None, False),
    ],
)
def test_a_condition_on_the_caller(caller: Caller | None, holds: bool) -> None:
    match = RouteMatch(source_labels=(("app", "cart"), ("tier", "1")), source_namespace="shop")
    assert takes(match, Request(), caller) is holds


def test_a_namespace_alone_and_labels_alone_are_conditions_too() -> None:
    assert takes(RouteMatch(source_namespace="shop"), Request(), Caller("shop", {}))
    assert takes(RouteMatch(source_labels=(("a", "b"),)), Request(), Caller("x", {"a": "b"}))


def test_a_table_says_whether_it_has_to_know_the_caller() -> None:
    assert not RouteTable((route("any"),)).needs_caller
    for match in (RouteMatch(source_namespace="a"), RouteMatch(source_labels=(("a", "b"),))):
        assert RouteTable((route("any"), Route("one", match))).needs_caller


def test_the_first_route_that_matches_is_taken() -> None:
    table = RouteTable((route("1", exact("/a")), route("2"), route("3", exact("/b"))))
    assert [table.match(Request(path), None).key for path in ("/a", "/b")] == ["1", "2"]


def test_no_route_means_none() -> None:
    assert RouteTable(()).match(Request(), None) is None


segments = st.lists(st.sampled_from(["", "a", "b", "ab"]), max_size=4)
some_paths = segments.map(lambda parts: "/" + "/".join(parts)) | st.just("*")
literals = st.builds(exact, some_paths) | st.builds(prefix, some_paths)
conditions = st.none() | st.builds(
    TextMatch,
    st.sampled_from([Comparison.EXACT, Comparison.PREFIX, TEXT, Comparison.REGEX]),
    some_paths,
    st.booleans(),
)
many_paths = st.tuples(st.lists(literals, min_size=7, max_size=9), st.lists(conditions)).flatmap(
    lambda both: st.permutations([*both[0], *both[1]])
)


@given(many_paths, some_paths)
def test_many_routes_are_found_as_few_are(given_paths: list[TextMatch | None], path: str) -> None:
    routes = tuple(route(str(position), each) for position, each in enumerate(given_paths))
    one_by_one = [one for one in routes if RouteTable((one,)).match(Request(path), None)]
    assert RouteTable(routes).match(Request(path), None) is next(iter(one_by_one), None)


def test_a_look_up_takes_no_more_steps_than_conditions_have_segments() -> None:
    index = PathIndex([prefix("/a/b"), exact("/x"), prefix("/")])
    assert index.candidates("/a/b" + "/" * 50_000) == [0, 2]


def test_the_table_of_the_same_routes_is_made_once() -> None:
    routes = (route("any"),)
    assert route_table(routes) is route_table(routes)
    assert route_table((route("any"),)) is not route_table(routes)


def test_tables_of_routes_that_are_gone_do_not_pile_up() -> None:
    first = (route("first"),)
    table = route_table(first)
    kept = [(route(str(number)),) for number in range(5000)]
    for routes in kept:
        route_table(routes)
    assert route_table(first) is not table


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("a=1", "1"),
        ("b=2&a=1&a=3", "1"),
        ("a", ""),
        ("a=", ""),
        ("a=%41+b%2Bc", "A b+c"),
        ("%61=1", "1"),
        ("a=%C3%A9", "é"),
        ("a=%FF", "�"),
        ("a=%zz", "%zz"),
        ("a=b=c", "b=c"),
        ("", None),
        ("&&", None),
        ("A=1", None),
        ("aa=1", None),
    ],
)
def test_the_first_value_of_a_query_parameter_counts_decoded(query: str, value: str | None) -> None:
    assert parameter(query, "a") == value


def test_a_parameter_without_a_name_is_no_empty_query() -> None:
    assert parameter("=1", "") == "1"
    assert parameter("", "") is None
