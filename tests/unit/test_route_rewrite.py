"""Rewritten targets and redirects: the Gateway API's tables, and Istio's ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_requests import Request, exact, prefix, regex, request

from edgemesh.model.routes import Comparison, Redirect, Rewrite, Route, RouteMatch, TextMatch
from edgemesh.policy.routing.rewrite import redirect_location, rewritten


def text_prefix(path: str, *, ignore_case: bool = False) -> TextMatch:
    return TextMatch(Comparison.TEXT_PREFIX, path, ignore_case)


def target(path: TextMatch | None, rewrite: Rewrite | None, asked: str) -> str:
    route = Route("one", RouteMatch(path=path), rewrite=rewrite)
    return rewritten(route, request(asked))[0]


# Gateway API v1, HTTPPathModifier.replacePrefixMatch: path, matched prefix, new prefix, result.
@pytest.mark.parametrize(
    ("path", "matched", "replacement", "expected"),
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/prefix/one/two", "/prefix/one", "/one", "/one/two"),
        ("/strip-prefix/three", "/strip-prefix", "/", "/three"),
    ],
)
def test_a_prefix_is_replaced_by_segments(
    path: str, matched: str, replacement: str, expected: str
) -> None:
    assert target(prefix(matched), Rewrite(prefix=replacement), path) == expected


@pytest.mark.parametrize(
    ("matched", "rewrite", "path", "expected"),
    [
        (prefix("/full"), Rewrite(full_path="/one"), "/full/one/two", "/one"),
        (prefix("/full"), Rewrite(full_path=""), "/full/one", "/"),
        (prefix("/full"), Rewrite(full_path="one two"), "/full", "/one%20two"),
        (prefix("/full"), Rewrite(full_path="/é%20\r\n"), "/full", "/%C3%A9%20%0D%0A"),
        (None, Rewrite(prefix="/new"), "/old", "/new/old"),
        (text_prefix("/app"), Rewrite(prefix="/web"), "/application", "/weblication"),
        (text_prefix("/app/"), Rewrite(prefix="/"), "/app/x", "/x"),
        (text_prefix("/APP", ignore_case=True), Rewrite(prefix="/web"), "/app/x", "/web/x"),
        (exact("/app"), Rewrite(prefix="/web"), "/app", "/web"),
        (regex("/a.*"), Rewrite(prefix="/web"), "/app/x", "/web"),
        (None, Rewrite(regex="^/a/(.*)$", substitution=r"/\1/é"), "/a/b", "/b/%C3%A9"),
        (None, Rewrite(regex="^/", substitution=""), "/a", "/a"),
        (None, Rewrite(host="other"), "/a", "/a"),
        (None, None, "/a", "/a"),
    ],
)
def test_other_rewrites(
    matched: TextMatch | None, rewrite: Rewrite | None, path: str, expected: str
) -> None:
    assert target(matched, rewrite, path) == expected


def test_the_query_stays() -> None:
    assert target(None, None, "/a?b=c") == "/a?b=c"
    assert target(prefix("/a"), Rewrite(prefix="/x"), "/a/b?c=d") == "/x/b?c=d"
    assert target(None, Rewrite(full_path="/x?y=z"), "/a?b=c") == "/x?y=z&b=c"


def test_the_host_is_rewritten_where_one_is_given() -> None:
    asked = request("web/a")
    assert rewritten(Route("one", rewrite=Rewrite(host="one.example.org")), asked) == (
        "/a",
        "one.example.org",
    )
    assert rewritten(Route("one", rewrite=Rewrite(full_path="/b")), asked) == ("/b", None)
    assert rewritten(Route("one"), asked) == ("/a", None)


def location(
    redirect: Redirect,
    scheme: str = "http",
    port: int = 80,
    asked: Request | None = None,
    path: TextMatch | None = None,
) -> str:
    route = Route("one", RouteMatch(path=path), redirect=redirect)
    return redirect_location(route, asked or request("example.org/p"), scheme, port)


# Gateway API conformance, HTTPRouteRedirectPortAndScheme: listener, filter, and the origin.
@pytest.mark.parametrize(
    ("listener", "scheme", "port", "origin"),
    [
        (("http", 80), "", 0, "http://example.org"),
        (("http", 80), "", 80, "http://example.org"),
        (("http", 80), "", 8080, "http://example.org:8080"),
        (("http", 80), "https", 0, "https://example.org"),
        (("http", 80), "https", 443, "https://example.org"),
        (("http", 80), "https", 8443, "https://example.org:8443"),
        (("http", 8080), "", 0, "http://example.org:8080"),
        (("http", 8080), "", 80, "http://example.org"),
        (("http", 8080), "https", 0, "https://example.org"),
        (("https", 443), "", 0, "https://example.org"),
        (("https", 443), "", 443, "https://example.org"),
        (("https", 443), "", 8443, "https://example.org:8443"),
        (("https", 443), "http", 0, "http://example.org"),
        (("https", 443), "http", 80, "http://example.org"),
        (("https", 443), "http", 8080, "http://example.org:8080"),
        (("http", 80), "https", 80, "https://example.org:80"),
    ],
)
def test_where_a_redirect_leads(
    listener: tuple[str, int], scheme: str, port: int, origin: str
) -> None:
    assert location(Redirect(scheme=scheme, port=port), *listener) == f"{origin}/p"


# Gateway API conformance, HTTPRouteRedirectPath.
@pytest.mark.parametrize(
    ("matched", "redirect", "path", "expected"),
    [
        (
            "/original-prefix",
            Redirect(path=Rewrite(prefix="/replacement-prefix")),
            "/original-prefix/lemon",
            "http://a/replacement-prefix/lemon",
        ),
        (
            "/full",
            Redirect(path=Rewrite(full_path="/full-path-replacement")),
            "/full/path/original",
            "http://a/full-path-replacement",
        ),
        (
            "/path-and-host",
            Redirect(host="example.org", path=Rewrite(prefix="/replacement-prefix")),
            "/path-and-host",
            "http://example.org/replacement-prefix",
        ),
        ("/", Redirect(host="example.org"), "/kept?and=query", "http://example.org/kept?and=query"),
        (
            "/a",
            Redirect(path=Rewrite(prefix="/b")),
            "/a/c?d=e",
            "http://a/b/c?d=e",
        ),
    ],
)
def test_the_path_of_a_redirect(matched: str, redirect: Redirect, path: str, expected: str) -> None:
    assert location(redirect, asked=request(f"a{path}"), path=prefix(matched)) == expected


def test_a_redirect_without_a_path_condition_replaces_the_prefix_of_every_path() -> None:
    assert location(Redirect(path=Rewrite(prefix="/b"))) == "http://example.org/b/p"


@pytest.mark.parametrize("host", ["fd00::1", "[fd00::1]"])
def test_an_ipv6_address_stands_in_brackets(host: str) -> None:
    assert location(Redirect(), asked=Request(host=host)) == "http://[fd00::1]/"


paths = st.text("/ab", max_size=6).map(lambda text: f"/{text}")


@given(paths, paths, st.text("/xy\n é?", max_size=5))
def test_a_rewritten_target_is_a_path_of_visible_characters(
    matched: str, rest: str, replacement: str
) -> None:
    asked = Request(matched.rstrip("/") + rest)
    for rewrite in (
        Rewrite(prefix=replacement),
        Rewrite(full_path=replacement),
        Rewrite(regex="a", substitution=replacement),
    ):
        route = Route("one", RouteMatch(path=prefix(matched)), rewrite=rewrite)
        changed, _ = rewritten(route, asked)
        assert changed.startswith("/")
        assert all(" " < character < "\x7f" for character in changed)
