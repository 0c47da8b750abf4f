"""Namespaces and Pods say whose calls are intercepted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, change, node, pod

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ChangeType, ObjectKey
from edgemesh.model.services import Callers, Snapshot, Source
from edgemesh.policy.callers import INTERCEPT, Choice, namespace_says, pod_says, why_left_alone

ADDRESS = "10.0.0.1"
WORDS = st.sampled_from(["enabled", "disabled", "Disabled", "false", ""])
SAID = st.dictionaries(st.sampled_from([INTERCEPT, "app"]), WORDS)


def namespace(name: str = "default", **labels: str) -> Body:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def caller(name: str = "web-1", address: str = ADDRESS, **metadata: Any) -> Body:
    body = pod(name, address)
    body["metadata"] |= metadata
    return body


def builder(*, intercepts: bool = True) -> SnapshotBuilder:
    return SnapshotBuilder("edge-1", Source.NODE, intercepts=intercepts)


def build(*bodies: Body, intercepts: bool = True) -> Snapshot:
    made = builder(intercepts=intercepts)
    made.apply(change(body) for body in bodies)
    assert made.problems == {}
    return made.build(1)


def left_alone(snapshot: Snapshot, address: str = ADDRESS) -> str:
    return snapshot.pods[address].left_alone


@given(SAID, SAID)
def test_a_pods_label_counts_for_more_than_its_annotation(
    labels: dict[str, str], annotations: dict[str, str]
) -> None:
    said = pod_says(labels, annotations, host_network=False)
    words = [each.get(INTERCEPT) for each in (labels, annotations)]
    first = next((word for word in words if word in ("enabled", "disabled")), None)
    assert said.choice == (
        None
        if first is None
        else Choice(first == "enabled", "label" if words[0] == first else "annotation")
    )


@given(SAID)
def test_a_word_that_is_not_understood_is_told(labels: dict[str, str]) -> None:
    said = namespace_says(labels)
    wrong = labels.get(INTERCEPT, "enabled") not in ("enabled", "disabled")
    assert bool(said.problems) is wrong
    assert not wrong or said.choice is None


def test_what_is_told_names_the_field_and_the_word() -> None:
    (problem,) = pod_says({}, {INTERCEPT: "no"}, host_network=False).problems
    assert problem == (
        'metadata.annotations["edgemesh.io/intercept"]: expected enabled or disabled, got "no"'
    )


@pytest.mark.parametrize(
    ("of_pod", "of_namespace", "by_default", "why"),
    [
        (None, None, True, ""),
        (None, None, False, "proxy.intercept_default is disabled"),
        (None, False, True, "label edgemesh.io/intercept of namespace shop is disabled"),
        (None, True, False, ""),
        (True, False, False, ""),
        (False, True, True, "label edgemesh.io/intercept of the Pod is disabled"),
    ],
)
def test_the_pod_comes_before_the_namespace_and_that_before_the_setting(
    of_pod: bool | None,
    of_namespace: bool | None,
    by_default: bool,
    why: str,
) -> None:
    pod_choice = None if of_pod is None else Choice(of_pod, "label")
    choice = None if of_namespace is None else Choice(of_namespace, "label")
    assert why_left_alone(pod_choice, "shop", choice, by_default=by_default) == why


def test_everybodys_calls_are_intercepted_where_nobody_says_anything() -> None:
    found = build(caller())
    assert found.callers == Callers()
    assert left_alone(found) == ""


def test_a_pod_that_does_not_want_it_is_listed_by_its_address() -> None:
    found = build(caller(labels={INTERCEPT: "disabled"}), caller("web-2", "10.0.0.2"))
    assert found.callers == Callers(frozenset({ADDRESS}))
    assert left_alone(found) == "label edgemesh.io/intercept of the Pod is disabled"


def test_a_namespace_speaks_for_its_pods_whichever_is_known_first() -> None:
    shop = namespace(**{INTERCEPT: "disabled"})
    before, after = build(shop, caller()), build(caller(), shop)
    assert before.callers == after.callers == Callers(frozenset({ADDRESS}))
    assert left_alone(before) == left_alone(after) != ""


def test_a_namespace_that_changes_its_mind_changes_its_pods() -> None:
    made = builder()
    made.apply([change(caller()), change(namespace(**{INTERCEPT: "disabled"}))])
    assert made.build(1).callers.listed == {ADDRESS}
    made.apply([change(namespace())])
    found = made.build(2)
    assert found.callers == Callers()
    assert left_alone(found) == ""


def test_a_namespace_that_is_gone_says_nothing() -> None:
    made = builder()
    wants_none = namespace(**{INTERCEPT: "disabled"})
    made.apply([change(caller()), change(wants_none)])
    made.apply([change(wants_none, ChangeType.DELETE)])
    assert made.build(1).callers == Callers()


def test_a_namespace_says_nothing_for_pods_that_speak_for_themselves() -> None:
    shop = namespace(**{INTERCEPT: "disabled"})
    assert build(shop, caller(annotations={INTERCEPT: "enabled"})).callers == Callers()


def test_where_nothing_is_intercepted_by_default_those_who_want_it_are_listed() -> None:
    found = build(
        caller(labels={INTERCEPT: "enabled"}), caller("web-2", "10.0.0.2"), intercepts=False
    )
    assert found.callers == Callers(frozenset({ADDRESS}), only_listed=True)
    assert left_alone(found, "10.0.0.2") == "proxy.intercept_default is disabled"


def test_pods_on_the_nodes_own_network_cannot_be_told_apart() -> None:
    body = caller(labels={INTERCEPT: "disabled"})
    body["spec"] = {"hostNetwork": True}
    made = builder()
    made.apply([change(body)])
    assert made.build(1).callers == Callers()
    assert made.problems == {
        ObjectKey("Pod", "default", "web-1"): 'metadata.labels["edgemesh.io/intercept"]: '
        "without effect, for the Pod has hostNetwork"
    }


@pytest.mark.parametrize("says", [{}, {INTERCEPT: "?"}])
def test_pods_on_the_nodes_own_network_are_told_only_what_they_said(says: dict[str, str]) -> None:
    said = pod_says(says, {}, host_network=True)
    assert said == pod_says(says, {}, host_network=False)


def test_an_address_that_another_pod_has_now_is_treated_as_that_one_wants() -> None:
    old = caller(labels={INTERCEPT: "disabled"}, deletionTimestamp="2026-01-01T00:00:00Z")
    assert build(old, caller("web-2")).callers == Callers()
    made = builder()
    made.apply([change(old), change(caller("web-2"))])
    made.apply([change(caller("web-2"), ChangeType.DELETE)])
    assert made.build(1).callers.listed == {ADDRESS}


def test_a_pod_that_is_gone_is_listed_no_more() -> None:
    made = builder()
    body = caller(labels={INTERCEPT: "disabled"})
    made.apply([change(body)])
    assert made.build(1).callers.listed
    made.apply([change(body, ChangeType.DELETE)])
    assert made.build(2).callers == Callers()


def test_the_value_stays_the_same_as_long_as_nothing_changes() -> None:
    made = builder()
    made.apply([change(caller(labels={INTERCEPT: "disabled"}))])
    before = made.build(1).callers
    made.apply([change(node("edge-1", "z1")), change(caller("web-2", "10.0.0.2"))])
    assert made.build(2).callers is before


def test_a_wrong_word_is_told_and_passed_over() -> None:
    made = builder()
    made.apply([change(caller(labels={INTERCEPT: "off"})), change(namespace(**{INTERCEPT: "x"}))])
    assert made.build(1).callers == Callers()
    assert set(made.problems) == {
        ObjectKey("Pod", "default", "web-1"),
        ObjectKey("Namespace", "", "default"),
    }


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), SAID, st.booleans()), max_size=12))
def test_what_is_listed_depends_on_what_there_is_and_not_on_how_it_came(
    steps: list[tuple[bool, int, dict[str, str], bool]],
) -> None:
    made = builder()
    standing: dict[ObjectKey, Body] = {}
    for is_pod, number, labels, goes in steps:
        body = caller(f"web-{number}", labels=labels) if is_pod else namespace("default", **labels)
        key = change(body).object.key
        if goes and key in standing:
            made.apply([change(standing.pop(key), ChangeType.DELETE)])
        elif not goes:
            standing[key] = body
            made.apply([change(body)])
    anew = builder()
    anew.apply(change(body) for body in standing.values())
    found, again = made.build(1), anew.build(1)
    assert found.callers == again.callers
    assert {address: each.left_alone for address, each in found.pods.items()} == {
        address: each.left_alone for address, each in again.pods.items()
    }
