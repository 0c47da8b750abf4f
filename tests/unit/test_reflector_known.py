"""What of a list or a watch is news, and what a list shows to be gone."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from captured import lines, pairs
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.reflection import Change, Name, Resource
from edgemesh.policy.reflector.known import Known, name_of

Body = Mapping[str, Any]


def made(name: str, revision: int | str, uid: str = "", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "d", "uid": uid, "resourceVersion": f"{revision}"},
        **more,
    }


def everything(_: Body) -> bool:
    return True


def listed(
    known: Known, bodies: Sequence[Body], revision: str
) -> tuple[list[str], set[str] | None]:
    """What a list changes, and what there is after it if something may have to go."""
    known.begin_list()
    changes = [change for body in bodies if (change := known.show(body))]
    kept = known.finish_list(revision)
    names = None if kept is None else {name.name for name in kept}
    return [name_of(change.body).name for change in changes], names


def happened(known: Known, body: Body, *, deleted: bool = False, in_order: bool = False) -> bool:
    change = known.happen(body, deleted=deleted, in_order=in_order)
    assert change in (None, Change(deleted, body))
    return change is not None


def test_a_first_list_is_all_news_and_whatever_else_is_stored_goes() -> None:
    known = Known(everything)
    assert listed(known, [made("a", 1), made("b", 2)], "9") == (["a", "b"], {"a", "b"})
    assert len(known) == 2


def test_an_empty_first_list_says_that_nothing_is_there() -> None:
    assert listed(Known(everything), [], "9") == ([], set())


def test_a_further_list_tells_what_has_changed_and_what_is_gone() -> None:
    known = Known(everything)
    listed(known, [made("a", 1), made("b", 2), made("c", 3)], "9")
    assert listed(known, [made("a", 1), made("b", 10), made("c", 3)], "12") == (["b"], None)
    assert listed(known, [made("b", 10)], "13") == ([], {"b"})
    assert len(known) == 1


def test_another_object_of_the_same_name_is_news_though_its_revision_is_equal() -> None:
    known = Known(everything)
    listed(known, [made("a", 1, "u1")], "9")
    assert listed(known, [made("a", 1, "u2")], "10") == (["a"], None)


def test_a_list_that_was_given_up_takes_nothing_away() -> None:
    known = Known(everything)
    listed(known, [made("a", 1), made("b", 2)], "9")
    known.begin_list()
    known.show(made("a", 10))
    assert len(known) == 2
    assert listed(known, [made("a", 10), made("b", 2)], "11") == ([], None)


def test_what_happens_during_a_streamed_list_counts_as_shown() -> None:
    known = Known(everything)
    known.begin_list()
    for body, deleted in [(made("a", 1), False), (made("b", 2), False), (made("a", 5), True)]:
        assert happened(known, body, deleted=deleted, in_order=True)
    kept = known.finish_list("5")
    assert kept == {Name("d", "b")}


def test_in_order_every_event_is_news_but_for_what_is_known_already() -> None:
    known = Known(everything)
    listed(known, [made("a", 5)], "9")
    assert not happened(known, made("a", 5), in_order=True)
    # As after a restored backup of etcd.
    assert happened(known, made("a", 3), in_order=True)
    assert happened(known, made("a", 4), deleted=True, in_order=True)
    assert not happened(known, made("a", 4), deleted=True, in_order=True)


@pytest.mark.parametrize(
    ("body", "deleted", "news"),
    [
        (made("a", 6), False, True),
        (made("a", 5), False, False),
        (made("a", 4), False, False),
        (made("a", 5), True, True),
        (made("a", 4), True, False),
        # Deleted long ago, the list does not have it.
        (made("x", 8), False, False),
        (made("x", 9), False, False),
        (made("x", 10), False, True),
        (made("x", 10), True, False),
        # Numbers of another sort cannot be compared.
        (made("x", "abc"), False, True),
        (made("a", "9" * 5000), False, True),
        (made("a", ""), True, True),
        (made("a", "", "other"), True, False),
        (made("a", "", "other"), False, True),
        (made("a", "", "u"), True, True),
        (made("x", ""), True, False),
    ],
)
def test_out_of_order_what_is_older_than_what_is_known_is_no_news(
    body: Body, deleted: bool, news: bool
) -> None:
    known = Known(everything)
    listed(known, [made("a", 5, "u")], "9")
    body["metadata"]["uid"] = body["metadata"]["uid"] or ("" if deleted else "u")
    assert happened(known, body, deleted=deleted) is news


def test_out_of_order_an_old_version_does_not_bring_back_what_was_deleted_since() -> None:
    known = Known(everything)
    listed(known, [made("a", 5)], "9")
    assert happened(known, made("a", 12), deleted=True)
    assert not happened(known, made("a", 11))
    assert happened(known, made("a", 13))


def test_what_a_selector_does_not_choose_is_not_there() -> None:
    known = Known(lambda body: body["spec"]["nodeName"] == "one")
    here, away = {"nodeName": "one"}, {"nodeName": "two"}
    bodies = [made("a", 1, spec=here), made("b", 2, spec=away)]
    assert listed(known, bodies, "9") == (["a"], {"a"})
    assert not happened(known, made("b", 10, spec=away))
    assert happened(known, made("b", 11, spec=here))
    change = known.happen(made("a", 12, spec=away), deleted=False)
    assert change is not None
    assert change.deleted
    assert len(known) == 1


def test_a_resource_tells_the_version_of_its_objects_by_its_path() -> None:
    assert Resource("Service", "/api/v1/services").api_version == "v1"
    slices = Resource("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices")
    assert slices.api_version == "discovery.k8s.io/v1"


def test_in_the_recorded_watches_of_a_metaserver_only_what_came_after_the_list_is_news() -> None:
    (page,) = [
        pair["body"]
        for pair in pairs()
        if pair["name"] == "services list without limit (for the watch)"
    ]
    known = Known(everything)
    listed(known, page["items"], page["metadata"]["resourceVersion"])
    news = [
        (line["line"]["type"], metadata["name"], metadata["resourceVersion"])
        for line in lines("kube-watch.jsonl")
        if line["session"] == "MetaServer"
        and line.get("watch") == "svc-from-list"
        and "line" in line
        for metadata in [line["line"]["object"]["metadata"]]
        if happened(known, line["line"]["object"])
    ]
    # tmp-meta was deleted before the list; the others are known from it.
    assert news == [
        ("ADDED", "w-meta", "472"),
        ("MODIFIED", "w-meta", "497"),
        ("MODIFIED", "w-meta", "502"),
    ]


class World:
    """A server's objects, with all that has ever happened to them."""

    def __init__(self) -> None:
        self.now: dict[str, dict[str, Any]] = {}
        self.ever: list[tuple[bool, dict[str, Any]]] = []

    def change(self, name: str, deleted: bool) -> None:
        revision = len(self.ever) + 1
        before = self.now.get(name)
        if deleted and before is None:
            return
        # A uid lives from creation to deletion.
        uid = before["metadata"]["uid"] if before else f"u{revision}"
        body = made(name, revision, uid)
        self.ever.append((deleted, body))
        if deleted:
            del self.now[name]
        else:
            self.now[name] = body


CHANGES = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=12)


@given(rounds=st.lists(CHANGES, min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_metaserver_that_repeats_old_rows_in_any_order_never_leads_back(
    rounds: list[list[tuple[str, bool]]], seed: int
) -> None:
    chance = random.Random(seed)
    world, known, mirror = World(), Known(everything), dict[str, Body]()

    def take(change: Change | None) -> None:
        if change and change.deleted:
            del mirror[name_of(change.body).name]
        elif change:
            mirror[name_of(change.body).name] = change.body

    def follow(deleted: bool, body: dict[str, Any]) -> None:
        take(known.happen(body, deleted=deleted, in_order=False))

    for changes in rounds:
        known.begin_list()
        for body in world.now.values():
            take(known.show(body))
        kept = known.finish_list(str(len(world.ever)))
        for name in [name for name in mirror if kept is not None and Name("d", name) not in kept]:
            del mirror[name]
        assert mirror == world.now
        for deleted, body in chance.sample(world.ever, len(world.ever)):
            if not deleted:
                follow(deleted=False, body=body)
        assert mirror == world.now
        before = len(world.ever)
        for change in changes:
            world.change(*change)
        for deleted, body in world.ever[before:]:
            follow(deleted, body)
            follow(deleted=False, body=chance.choice(world.ever)[1])
        for deleted, body in world.ever[before:]:
            follow(deleted, body)
        assert mirror == world.now
