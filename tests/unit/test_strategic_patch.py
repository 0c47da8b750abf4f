"""Strategic merge patches: the recorded one, the directives, and any JSON."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from captured import FRAMES
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.kubeedge.answers import read_answer, read_patch
from edgemesh.wire.kubeedge.strategic_patch import merge_patch
from edgemesh.wire.message import MessageError


def status(*conditions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"status": {"conditions": list(conditions), **fields}}


def condition(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def test_the_recorded_patch_makes_of_the_node_what_cloudcore_made_of_it() -> None:
    """The Node as EdgeCore inserted it, its patch, and CloudCore's answer to that."""
    said = {
        (each.message.route.operation, each.message.resource.type): each.message
        for each in FRAMES
        if each.session == "registration" and each.message.route.group != "user"
        if "/" in each.message.route.resource
        if each.message.route.operation in {"insert", "patch"}
    }
    patch = said["patch", "nodepatch"]
    answered = next(
        each.message for each in FRAMES if each.message.header.parent_msg_id == patch.header.msg_id
    )
    patched = merge_patch(said["insert", "node"].value(), read_patch(patch))["status"]
    expected = read_answer(answered).object["status"]
    assert patched["conditions"] == expected["conditions"]
    assert patched["addresses"] == expected["addresses"]


def test_fields_are_merged_null_deletes_and_other_lists_are_replaced() -> None:
    present = {"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": 1}
    patch = {"a": {"b": 3, "d": {"e": 1}}, "list": [3], "gone": None, "never": None}
    assert merge_patch(present, patch) == {"a": {"b": 3, "c": 2, "d": {"e": 1}}, "list": [3]}


def test_items_are_merged_by_their_key() -> None:
    present = status(condition("Ready", status="False", reason="x"), condition("Disk"))
    patch = status(condition("Ready", status="True"), condition("New"))
    assert merge_patch(present, patch) == status(
        condition("Ready", status="True", reason="x"), condition("Disk"), condition("New")
    )


def test_items_are_deleted_and_lists_replaced_where_that_is_asked_for() -> None:
    present = status(condition("Ready"), condition("Disk"))
    deletion = status({"$patch": "delete", "type": "Ready"}, {"$patch": "delete", "type": "No"})
    assert merge_patch(present, deletion) == status(condition("Disk"))
    replacement = status({"$patch": "replace"}, condition("New"))
    assert merge_patch(present, replacement) == status(condition("New"))


def test_objects_are_replaced_and_emptied_where_that_is_asked_for() -> None:
    present = {"a": {"b": 1}, "c": {"d": 1}, "e": {"f": 1, "g": 2}}
    patch = {
        "a": {"$patch": "replace", "x": 1},
        "c": {"$patch": "delete"},
        "e": {"$patch": "merge", "$retainKeys": ["g", "h"], "h": 3},
    }
    assert merge_patch(present, patch) == {"a": {"x": 1}, "c": {}, "e": {"g": 2, "h": 3}}


def test_the_order_of_items_is_the_one_that_is_asked_for() -> None:
    present = status(condition("A"), condition("B"), condition("C"))
    order = [{"type": "C"}, {"type": "A"}]
    patch = {"status": {"$setElementOrder/conditions": order}}
    assert merge_patch(present, patch) == status(condition("C"), condition("A"), condition("B"))
    assert merge_patch({}, patch) == {"status": {}}


def test_plain_values_are_added_once_removed_and_ordered() -> None:
    present = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {
        "metadata": {
            "finalizers": ["b", "c"],
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
        }
    }
    assert merge_patch(present, patch) == {"metadata": {"finalizers": ["c", "b"]}}
    assert merge_patch({"metadata": {"finalizers": 1}}, patch)["metadata"]["finalizers"] == [
        "c",
        "b",
    ]


def test_what_is_there_in_another_form_gives_way() -> None:
    patch = status(condition("A"))
    assert merge_patch({"status": 1}, patch) == patch
    assert merge_patch({"status": {"conditions": 1}}, patch) == patch
    assert merge_patch({"status": {"conditions": [1]}}, patch) == status(1, condition("A"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"$patch": "x"}, r"\$patch 'x' at the top is not known"),
        ({"a": {"$unknown": []}}, r"'\$unknown' at a is not known"),
        ({"a": {"$retainKeys": 1}}, r"'\$retainKeys' at a is no list"),
        (status({"reason": "x"}), "an item of status.conditions has no 'type'"),
        (status(1), "an item of status.conditions has no 'type'"),  # type: ignore[arg-type]
        (status(*[condition("A")] * 1001), "has 1001 items, allowed are 1000"),
    ],
)
def test_a_patch_that_is_none_is_named(patch: dict[str, Any], words: str) -> None:
    with pytest.raises(MessageError, match=words):
        merge_patch({}, patch)


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(MessageError, match="more than 64 levels"):
        merge_patch({}, deep)


names = st.sampled_from(["status", "conditions", "metadata", "finalizers", "type", "a"])
directives = st.sampled_from(
    ["$patch", "$retainKeys", "$setElementOrder/conditions", "$deleteFromPrimitiveList/a", "$x"]
)
scalars = st.none() | st.booleans() | st.sampled_from(["delete", "replace", "x"])


def json_objects(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars,
        lambda each: st.lists(each, max_size=3) | st.dictionaries(keys, each, max_size=3),
        max_leaves=12,
    )
    return st.dictionaries(keys, values, max_size=3)


@given(json_objects(names), json_objects(names | directives))
def test_any_patch_is_merged_or_named_and_the_object_stays_as_it_was(
    present: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = copy.deepcopy((present, patch))
    try:
        merged = merge_patch(present, patch)
    except MessageError:
        merged = {}
    assert (present, patch) == before
    assert not [name for name in merged if name.startswith("$")]


@given(json_objects(names), json_objects(names))
def test_a_patch_twice_is_the_patch_once(present: dict[str, Any], patch: dict[str, Any]) -> None:
    try:
        once = merge_patch(present, patch)
    except MessageError:
        return
    assert merge_patch(once, patch) == once
    assert merge_patch(present, {}) == present
