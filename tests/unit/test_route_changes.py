"""Header changes, shares of backends, cookies and hash keys."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_requests import Request, request

from edgemesh.model.policies import HashKey, HashSource
from edgemesh.model.routes import NO_CHANGES, Backend, HeaderChanges, Route
from edgemesh.policy.routing.backends import NO_WEIGHT, pick_backend
from edgemesh.policy.routing.cookies import cookie, set_cookie
from edgemesh.policy.routing.hashing import hash_text, wants_cookie
from edgemesh.policy.routing.headers import change_headers
from edgemesh.wire.http1.rebuild import UNCHANGEABLE, may_change

SENT = (("host", "web"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (NO_CHANGES, SENT),
        (HeaderChanges(remove=("x-a", "x-none")), (SENT[0], SENT[2])),
        (HeaderChanges(set=(("x-a", "9"),)), (SENT[0], ("x-a", "9"), SENT[2])),
        (HeaderChanges(set=(("x-c", "9"), ("x-c", "8"))), (*SENT, ("x-c", "9"))),
        (HeaderChanges(add=(("x-a", "9"), ("x-a", "8"))), (*SENT, ("x-a", "9"), ("x-a", "8"))),
        (
            HeaderChanges(("x-b",), (("x-b", "9"),), (("x-b", "8"),)),
            (SENT[0], SENT[1], ("x-b", "9"), SENT[3], ("x-b", "8")),
        ),
        (HeaderChanges(("host",), (("host", "a"),), (("host", "b"),)), SENT),
    ],
    ids=["none", "remove", "set", "set new, twice", "add", "all of one name", "unchangeable"],
)
def test_headers_are_removed_then_set_then_added(
    changes: HeaderChanges, expected: tuple[tuple[str, str], ...]
) -> None:
    assert change_headers(SENT, changes) == expected


def test_headers_that_frame_a_message_and_values_that_break_it_are_not_for_routes() -> None:
    names = (*UNCHANGEABLE, ":path", "two words")
    changes = HeaderChanges(
        names,
        (*((name, "set") for name in names), ("x-a", "1\r\nx-b: 2")),
        (*((name, "added") for name in names), ("x-c", "\0")),
    )
    sent = (("content-length", "5"), ("x-a", "1"))
    assert change_headers(sent, changes) == sent


names = st.sampled_from(["x-a", "x-b", "x-c", "connection"])
pairs = st.lists(st.tuples(names, st.text("12", max_size=2)), max_size=5).map(tuple)


@given(pairs, st.lists(names, max_size=3).map(tuple), pairs, pairs)
def test_what_changes_do_not_name_stays_in_order_and_what_they_set_is_there_once(
    sent: tuple[tuple[str, str], ...],
    remove: tuple[str, ...],
    set_pairs: tuple[tuple[str, str], ...],
    add: tuple[tuple[str, str], ...],
) -> None:
    changed = change_headers(sent, HeaderChanges(remove, set_pairs, add))
    named = {name for name in (*remove, *dict(set_pairs), *dict(add)) if may_change(name)}
    kept = [pair for pair in changed if pair[0] not in named]
    assert kept == [pair for pair in sent if pair[0] not in named]
    first_set = dict(reversed(set_pairs))
    for name in named:
        values = [value for each, value in changed if each == name]
        added = [value for each, value in add if each == name]
        before = [value for each, value in sent if each == name and name not in remove]
        assert values == ([first_set[name]] if name in first_set else before) + added


def backends(*weights: int) -> Route:
    return Route(
        "one",
        backends=tuple(
            Backend("default", str(position), 80, weight=weight)
            for position, weight in enumerate(weights)
        ),
    )


def shares(route: Route, picks: int = 10_000) -> Counter[str]:
    random = Random(3).random
    picked = [pick_backend(route, random) for _ in range(picks)]
    return Counter(one.service for one in picked if one is not None)


def test_backends_take_their_shares() -> None:
    picked = shares(backends(90, 10, 0))
    assert 8800 < picked["0"] < 9200
    assert picked["0"] + picked["1"] == 10_000


def test_one_backend_takes_everything() -> None:
    assert shares(backends(7), 10) == {"0": 10}


def test_a_route_without_backends_leaves_the_choice_to_the_service_that_was_called() -> None:
    assert pick_backend(Route("one"), Random().random) is None


@pytest.mark.parametrize("weights", [(0,), (0, 0)])
def test_backends_of_no_weight_are_a_problem_not_a_choice(weights: tuple[int, ...]) -> None:
    assert pick_backend(backends(*weights), Random().random) is NO_WEIGHT
    assert NO_WEIGHT.problem


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.floats(0, 1, exclude_max=True))
def test_no_backend_of_weight_0_is_ever_picked(weights: list[int], drawn: float) -> None:
    picked = pick_backend(backends(*weights), lambda: drawn)
    assert picked is not None
    assert (picked.weight > 0) is any(weights)


def test_rounding_at_the_upper_end_still_picks_the_last_of_weight() -> None:
    picked = pick_backend(backends(1, 1, 0), lambda: 1.0)
    assert picked is not None
    assert picked.service == "1"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("a=1", "1"),
        ("b=2; a=1; a=3", "1"),
        ("b=2;a=1", "1"),
        ('a="1"', "1"),
        ("a=1=2", "1=2"),
        ("a=", ""),
        (" a = 1 ", "1"),
        ("a", None),
        ("ba=1", None),
        ("A=1", None),
        ("", None),
    ],
)
def test_a_cookie_is_read(header: str, value: str | None) -> None:
    assert cookie(header, "a") == value


@pytest.mark.parametrize(
    ("ttl", "path", "expected"),
    [
        (0.0, "/", "sid=v1; Path=/; HttpOnly"),
        (1.5, "/shop", "sid=v1; Max-Age=2; Path=/shop; HttpOnly"),
        (3600.0, "", "sid=v1; Max-Age=3600; Path=/; HttpOnly"),
    ],
)
def test_a_cookie_is_given(ttl: float, path: str, expected: str) -> None:
    assert set_cookie(HashKey(HashSource.COOKIE, "sid", ttl, path), "v1") == expected


ASKED = Request("/p", "web", "GET", "user=u%201", (("x-user", "u2"), ("cookie", "b=1; sid=u3")))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "10.0.0.1"),
        (HashKey(HashSource.SOURCE_ADDRESS), "10.0.0.1"),
        (HashKey(HashSource.HEADER, "x-user"), "u2"),
        (HashKey(HashSource.HEADER, "x-none"), None),
        (HashKey(HashSource.HEADER, ":authority"), "web"),
        (HashKey(HashSource.QUERY, "user"), "u 1"),
        (HashKey(HashSource.QUERY, "none"), None),
        (HashKey(HashSource.COOKIE, "sid"), "u3"),
        (HashKey(HashSource.COOKIE, "none"), None),
    ],
)
def test_a_hash_key_names_a_part_of_the_request(key: HashKey | None, text: str | None) -> None:
    assert hash_text(key, ASKED, "10.0.0.1") == text


def test_a_request_without_cookies_has_no_hash_text_of_one() -> None:
    assert hash_text(HashKey(HashSource.COOKIE, "sid"), request(), "10.0.0.1") is None


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        (HashKey(HashSource.COOKIE, "sid", 0.0), None, True),
        (HashKey(HashSource.COOKIE, "sid", 0.0), "v", False),
        (HashKey(HashSource.COOKIE, "sid"), None, False),
        (HashKey(HashSource.HEADER, "sid", 0.0), None, False),
        (None, None, False),
    ],
)
def test_a_cookie_is_given_to_who_came_without(
    key: HashKey | None, text: str | None, wanted: bool
) -> None:
    assert wants_cookie(key, text) is wanted
