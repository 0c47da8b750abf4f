"""Which rule a REST request at the cloud falls under, and where it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.router import RouterEndpoint, RouterRule, RuleEndpointType
from edgemesh.policy.router.rest import RestRules, RestTarget, rest_target, target_path

REST = RouterEndpoint("r", "default", "my-rest", RuleEndpointType.REST)
BUS = RouterEndpoint("s", "default", "my-servicebus", RuleEndpointType.SERVICEBUS)
segment = st.text("ab", min_size=1, max_size=2)


def rule(
    name: str,
    path: str,
    *,
    target: str = "/target",
    namespace: str = "default",
    in_use: bool = True,
) -> RouterRule:
    return RouterRule(
        name, namespace, name, REST, BUS, {"path": path}, {"path": target}, in_use=in_use
    )


def led(rules: RestRules, path: str) -> str:
    """Where a request of default goes, "" for nowhere."""
    found = rules.find(RestTarget("edge-1", "default", path, ""))
    return f"{found[0].name}:{target_path(*found, '')}" if found else ""


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/edge-1/default/source/ok", RestTarget("edge-1", "default", "/source/ok", "")),
        ("/edge-1/default/a?x=1&y=%20z", RestTarget("edge-1", "default", "/a", "?x=1&y=%20z")),
        ("/edge-1/default/", RestTarget("edge-1", "default", "/", "")),
        ("/edge-1/default", RestTarget("edge-1", "default", "", "")),
        ("/edge-1/default/a:b/?", RestTarget("edge-1", "default", "/a:b/", "?")),
    ],
)
def test_a_target_names_node_namespace_and_path(target: str, parts: RestTarget) -> None:
    assert rest_target(target) == parts


@pytest.mark.parametrize("target", ["*", "/", "/edge-1", "/edge-1/", "//default/a", "edge-1/a/b"])
def test_a_target_of_another_form_is_none(target: str) -> None:
    assert rest_target(target) is None


def test_what_follows_the_path_is_kept_at_the_target() -> None:
    rules = RestRules([rule("one", "/source")])
    assert led(rules, "/source") == "one:/target"
    assert led(rules, "/source/a/b") == "one:/target/a/b"
    assert led(rules, "/source/") == "one:/target/"
    assert led(rules, "/source/a:b") == "one:/target/a:b"


def test_whole_segments_match() -> None:
    assert not led(RestRules([rule("one", "/source")]), "/sourceXYZ")
    assert not led(RestRules([rule("one", "/source/a")]), "/source")


def test_the_longest_path_wins_and_then_the_most_exact() -> None:
    rules = RestRules(
        [rule("short", "/a"), rule("open", "/a/{id}"), rule("long", "/a/b"), rule("all", "/")]
    )
    assert led(rules, "/a/b/c") == "long:/target/c"
    assert led(rules, "/a/x/c") == "open:/target/c"
    assert led(rules, "/a") == "short:/target"
    assert led(rules, "/other") == "all:/target/other"


def test_a_parameter_is_no_empty_segment() -> None:
    assert not led(RestRules([rule("open", "/a/{id}")]), "/a/")


def test_rules_of_others_and_unused_ones_do_not_count() -> None:
    rules = RestRules([rule("far", "/a", namespace="other"), rule("off", "/a", in_use=False)])
    assert not led(rules, "/a")


def test_only_rules_with_a_rest_source_count() -> None:
    bus = RouterRule("b", "default", "b", BUS, REST, {"target_url": "u"}, {"resource": "http://a"})
    assert not led(RestRules([bus]), "/a")


@pytest.mark.parametrize("target", ["", "/"])
def test_a_target_without_a_path_is_the_root(target: str) -> None:
    rules = RestRules([rule("one", "/source", target=target)])
    assert led(rules, "/source") == "one:/"
    assert led(rules, "/source/a") == "one:/a"


def test_the_query_goes_along() -> None:
    found = RestRules([rule("one", "/source")]).find(RestTarget("n", "default", "/source/a", ""))
    assert found
    assert target_path(*found, "?x=1") == "/target/a?x=1"


@given(st.lists(segment, max_size=4), st.lists(segment, max_size=4))
def test_a_path_matches_what_it_begins(own: list[str], rest: list[str]) -> None:
    rules = RestRules([rule("one", "/" + "/".join(own))])
    path = "".join(f"/{each}" for each in own + rest)
    assert led(rules, path) == "one:/target" + "".join(f"/{each}" for each in rest)


@given(st.text(max_size=30))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    found = rest_target(text)
    if found is not None:
        assert f"/{found.node}/{found.namespace}{found.path}{found.query}" == text
