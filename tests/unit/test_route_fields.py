"""What a route gets wrong, beyond the types of its fields, is told."""

from __future__ import annotations

from typing import Any

import pytest
from policy_bodies import http_route, problems_of, to, virtual_service


def of_virtual_service(**rule: Any) -> list[str]:
    return problems_of(virtual_service({"route": [to("v1")], **rule}))


def of_http_route(**rule: Any) -> list[str]:
    return problems_of(http_route({"backendRefs": [{"name": "v1", "port": 80}], **rule}))


def test_nothing_is_said_about_what_is_right() -> None:
    match = {"uri": {"regex": "/a.*"}, "headers": {"a": {"regex": "x"}}}
    assert of_virtual_service(match=[match], retries={"attempts": 1, "retryOn": "5xx,503"}) == []
    path = {"type": "RegularExpression", "value": "/a.*"}
    assert of_http_route(matches=[{"path": path}, {"path": {"value": "/("}}]) == []


@pytest.mark.parametrize(
    ("match", "field"),
    [
        ({"uri": {"regex": "("}}, "uri"),
        ({"headers": {"a": {"regex": "("}}}, 'headers["a"]'),
        ({"withoutHeaders": {"a": {"regex": "("}}}, 'withoutHeaders["a"]'),
    ],
)
def test_a_condition_of_istio_that_cannot_be_used_is_told(match: Any, field: str) -> None:
    where = "spec.http[0].match[0]"
    assert of_virtual_service(match=[match, {}]) == [
        f'{where}.{field}: the regular expression "(" has a ( without its ); {where} is ignored'
    ]


@pytest.mark.parametrize(
    ("match", "field"),
    [
        ({"path": {"type": "RegularExpression", "value": "("}}, "path"),
        ({"headers": [{"type": "RegularExpression", "name": "a", "value": "("}]}, "headers[0]"),
        (
            {"queryParams": [{"type": "RegularExpression", "name": "a", "value": "("}]},
            "queryParams[0]",
        ),
    ],
)
def test_a_condition_of_the_gateway_api_that_cannot_be_used_is_told(match: Any, field: str) -> None:
    where = "spec.rules[0].matches[0]"
    assert of_http_route(matches=[match, {}]) == [
        f'{where}.{field}: the regular expression "(" has a ( without its ); {where} is ignored'
    ]


def test_a_rewrite_that_cannot_be_done_is_told() -> None:
    rewrite = {"uriRegexRewrite": {"match": "/a", "rewrite": r"/\1"}}
    assert of_virtual_service(rewrite=rewrite) == [
        (
            'spec.http[0].rewrite.uriRegexRewrite: the regular expression "/a" has no group 1, '
            "which the substitution names; ignored"
        )
    ]


def test_headers_that_routes_may_not_change_are_told() -> None:
    headers = {"request": {"set": {"Host": "a"}, "add": {"a": "b"}, "remove": ["Connection"]}}
    where = "spec.http[0].headers.request"
    why = "expected the name of a header that routes may change, got"
    assert of_virtual_service(headers=headers) == [
        f'{where}.set["Host"]: {why} "Host"; ignored',
        f'{where}.remove[0]: {why} "Connection"; ignored',
    ]
    changes = {"set": [{"name": "TE", "value": "a"}], "add": [{"name": "host", "value": "b"}]}
    filter_ = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {**changes, "remove": ["upgrade", "x"]},
    }
    where = "spec.rules[0].filters[0].requestHeaderModifier"
    assert of_http_route(filters=[filter_]) == [
        f'{where}.set[0].name: {why} "TE"; {where}.set[0] is ignored',
        f'{where}.add[0].name: {why} "host"; {where}.add[0] is ignored',
        f'{where}.remove[0]: {why} "upgrade"; ignored',
    ]


@pytest.mark.parametrize("words", ["5xx,sometimes", 5, "200"])
def test_words_of_retries_that_are_not_known_are_told(words: Any) -> None:
    [found] = of_virtual_service(retries={"attempts": 1, "retryOn": words})
    assert found.startswith("spec.http[0].retries.retryOn: expected 5xx, gateway-error, reset, ")
    assert found.endswith("; ignored")
