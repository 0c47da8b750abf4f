"""Policy objects are read field by field: what is wrong is told, the rest counts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_bodies import problems_of, traffic_policy

from edgemesh.wire.kubernetes import FieldError, decode, examine
from edgemesh.wire.kubernetes.parsed import Duration, Interval
from edgemesh.wire.kubernetes.tolerant import BINDING, EXACT, PolicyView, read_tolerantly
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy


class Condition(PolicyView, frozen=True, kw_only=True):
    """A part that counts as a whole or not at all."""

    whole: ClassVar[bool] = True
    one_of: ClassVar[tuple[str, ...]] = ("exact", "prefix")

    exact: str | None = None
    prefix: str | None = None
    inner: tuple[int, ...] = ()


class Rule(PolicyView, frozen=True, kw_only=True):
    """A part that cannot do without its conditions."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"mirror"})

    conditions: Annotated[tuple[Condition, ...], BINDING] = ()
    labels: Annotated[dict[str, str], EXACT] = {}  # noqa: RUF012 - msgspec copies it
    sizes: dict[str, int] = {}  # noqa: RUF012
    timeout: Duration | None = None


class Sheet(PolicyView, frozen=True, kw_only=True):
    """A whole."""

    name: str
    rules: tuple[Rule, ...] = ()


def read(value: Any) -> tuple[Any, list[str]]:
    found, problems = read_tolerantly(value, Sheet)
    return found, [str(problem) for problem in problems]


def read_rule(rule: Any) -> tuple[Any, list[str]]:
    found, problems = read({"name": "a", "rules": [rule]})
    return found.rules[0] if found.rules else None, problems


def test_what_is_right_is_read_without_a_word() -> None:
    rule = {"conditions": [{"exact": "a", "inner": [1]}], "labels": {"a": "b"}, "timeout": "1s"}
    found, problems = read_rule(rule)
    expected = Rule(
        conditions=(Condition(exact="a", inner=(1,)),), labels={"a": "b"}, timeout=Duration(1)
    )
    assert (found, problems) == (expected, [])


def test_null_counts_as_absent() -> None:
    assert read_rule({"labels": None, "timeout": None}) == (Rule(), [])


@pytest.mark.parametrize(
    ("rule", "left", "problem"),
    [
        (
            {"timeout": 5, "labels": {"a": "b"}},
            Rule(labels={"a": "b"}),
            "rules[0].timeout: expected a duration such as 10s, 500ms or 1h30m, got 5; ignored",
        ),
        ({"colour": "red"}, Rule(), 'rules[0].colour: unknown field, got "red"; ignored'),
        ({5: "red"}, Rule(), 'rules[0][5]: unknown field, got "red"; ignored'),
        ({"a-b": 1}, Rule(), 'rules[0]["a-b"]: unknown field, got 1; ignored'),
        ({"mirror": {}}, Rule(), "rules[0].mirror: not supported, got a mapping; ignored"),
        (
            {"sizes": {"a": 1, "b": "x"}},
            Rule(sizes={"a": 1}),
            'rules[0].sizes["b"]: expected an integer, got "x"; ignored',
        ),
        ({"sizes": [1]}, Rule(), "rules[0].sizes: expected a mapping, got a list; ignored"),
        (5, None, "rules[0]: expected a mapping, got 5; ignored"),
    ],
)
def test_a_mistake_is_told_and_passed_over_alone(rule: Any, left: Any, problem: str) -> None:
    assert read_rule(rule) == (left, [problem])


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (
            {"labels": {"a": "b", "c": 5}},
            'rules[0].labels["c"]: expected a string, got 5; rules[0] is ignored',
        ),
        (
            {"conditions": {}},
            "rules[0].conditions: expected a list, got a mapping; rules[0] is ignored",
        ),
    ],
)
def test_what_cannot_do_without_a_field_goes_with_it(rule: Any, problem: str) -> None:
    assert read_rule(rule) == (None, [problem])


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ({"exact": 5}, "exact: expected a string, got 5"),
        ({"exact": "a", "suffix": "b"}, 'suffix: unknown field, got "b"'),
        ({"exact": "a", "prefix": "b"}, "prefix: expected to stand alone, but exact is given, too"),
        ({"inner": [1, "x"]}, 'inner[1]: expected an integer, got "x"'),
    ],
)
def test_a_condition_with_a_mistake_is_left_out_whole(condition: Any, problem: str) -> None:
    rule = {"conditions": [condition, {"exact": "other"}]}
    found, problems = read_rule(rule)
    assert found == Rule(conditions=(Condition(exact="other"),))
    assert problems == [f"rules[0].conditions[0].{problem}; rules[0].conditions[0] is ignored"]


def test_a_rule_whose_conditions_are_all_wrong_does_not_match_everything() -> None:
    found, problems = read_rule({"conditions": [{"exact": 5}]})
    assert found is None
    assert problems == [
        "rules[0].conditions[0].exact: expected a string, got 5; rules[0].conditions[0] is ignored",
        "rules[0].conditions: expected an entry that can be used, got none; rules[0] is ignored",
    ]


def test_no_conditions_are_no_mistake() -> None:
    assert read_rule({"conditions": []}) == (Rule(), [])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"rules": []}, "name: required, but missing"),
        ({"name": 5}, "name: expected a string, got 5"),
        ([], ": expected a mapping, got a list"),
    ],
)
def test_a_whole_without_what_it_needs_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        read(value)
    assert str(caught.value) == problem


def test_of_fields_that_exclude_each_other_the_first_counts() -> None:
    body = traffic_policy(loadBalancing={"hash": {"query": "q", "header": "h"}})
    view = decode(body)
    assert isinstance(view, TrafficPolicy)
    assert view.spec.load_balancing is not None
    hashed = view.spec.load_balancing.hashed
    assert hashed is not None
    assert (hashed.header, hashed.query) == ("h", None)
    assert problems_of(body) == [
        "spec.loadBalancing.hash.query: expected to stand alone, but header is given, too; ignored"
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("10s", 10.0),
        ("500ms", 0.5),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("1m0.25s", 60.25),
        ("250us", 0.00025),
        ("7ns", 7e-9),
    ],
)
def test_a_duration_is_read_as_go_writes_it(text: str, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "10", "s", "1d", "-1s", "1s ", "1e3s", "\u0661s", 10, None, True]
)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a duration"):
        Duration.parse(value)


def test_a_duration_is_not_for_ever_and_an_interval_not_next_to_nothing() -> None:
    assert Duration.parse("99999h") == 99999 * 3600.0
    with pytest.raises(ValueError, match="a duration"):
        Duration.parse("100001h")
    assert Interval.parse("10ms") == 0.01
    for text in ("0s", "9ms"):
        with pytest.raises(ValueError, match="a duration of 10ms or more"):
            Interval.parse(text)


@given(st.text())
def test_any_text_is_a_duration_or_is_refused(text: str) -> None:
    try:
        assert Duration.parse(text) >= 0
    except ValueError as error:
        assert str(error) == Duration.description  # noqa: PT017 - either way is right


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "path",
        "qps",
        "concurrency",
        "circuitBreaker",
        "timeouts",
        "retries",
        "healthCheck",
        "loadBalancing",
        "client",
        "server",
        "rate",
        "burst",
        "hash",
        "cookie",
        "on",
        "statuses",
    ]
)
SPECS = st.dictionaries(
    FIELDS, JSON | st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=3))
)


@given(SPECS)
def test_whatever_stands_in_a_policy_with_a_target_it_is_read(spec: dict[str, Any]) -> None:
    found = examine(traffic_policy(**spec))
    assert isinstance(found.view, TrafficPolicy)
    for problem in found.problems:
        assert problem.field.startswith(problem.ignored)
        assert "\n" not in str(problem)
