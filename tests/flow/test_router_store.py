"""The router's tables follow the objects, and counts outlive changes of rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from edgemesh.model.router import RouterEndpoint, RouterRule, RuleEndpointType
from edgemesh.store.router import RouterStore, RuleOutcome
from edgemesh.store.store import Store

REST = RouterEndpoint("rest-id", "default", "my-rest", RuleEndpointType.REST, project_id="p")
BUS = RouterEndpoint(
    "bus-id", "default", "my-bus", RuleEndpointType.SERVICEBUS, {"service_port": "6666"}
)
RULE = RouterRule(
    "rule-id",
    "default",
    "my-rule",
    REST,
    BUS,
    {"path": "/source"},
    {"path": "/target"},
    project_id="p",
    domain_id="d",
)


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[RouterStore]:
    store = await Store.open(f"sqlite:///{tmp_path / 'router.db'}")
    try:
        yield RouterStore(store, max_errors=3, max_deleted=1)
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await store.close()


async def test_rules_are_told_by_the_names_of_the_design(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    [rule] = await router.rules()
    assert list(rule) == [
        "id",
        "name",
        "project_id",
        "domain_id",
        "source",
        "source_resource",
        "target",
        "target_resource",
        "in_use",
        "is_deleted",
        "created_at",
        "updated_at",
        "success_messages",
        "fail_messages",
    ]
    assert list(rule["source"]) == [
        "id",
        "type",
        "name",
        "project_id",
        "is_shared",
        "properties",
        "created_at",
        "updated_at",
    ]
    assert rule["source"]["project_id"] == "p"
    assert rule["target"]["properties"] == {"service_port": "6666"}
    assert (rule["in_use"], rule["is_deleted"]) == (True, False)


async def test_counts_stay_when_a_rule_changes(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    await router.count({"rule-id": RuleOutcome(2, 1, ("edge-1 is away",)), "none": RuleOutcome(1)})
    await router.keep([REST, BUS], [replace(RULE, target_resource={"path": "/other"})])
    await router.count({"rule-id": RuleOutcome(1, 0)})
    assert await router.outcomes() == {"rule-id": RuleOutcome(3, 1, ("edge-1 is away",))}
    [rule] = await router.rules()
    assert rule["target_resource"] == {"path": "/other"}
    assert (rule["success_messages"], rule["fail_messages"]) == (3, 1)


async def test_the_latest_errors_of_a_rule_are_kept(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    for first in (0, 2, 4):
        errors = tuple(f"error {number}" for number in range(first, first + 2))
        await router.count({"rule-id": RuleOutcome(0, 2, errors)})
    outcome = (await router.outcomes())["rule-id"]
    assert outcome == RuleOutcome(0, 6, ("error 3", "error 4", "error 5"))


async def test_a_deleted_rule_is_marked_and_keeps_its_ends(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    await router.keep([], [])
    [rule] = await router.rules()
    assert (rule["is_deleted"], rule["in_use"]) == (True, False)
    assert rule["source"]["id"] == "rest-id"


async def test_a_rule_that_comes_back_is_no_longer_deleted(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    await router.keep([REST, BUS], [])
    await router.keep([REST, BUS], [RULE])
    [rule] = await router.rules()
    assert (rule["is_deleted"], rule["in_use"]) == (False, True)


async def test_of_deleted_rules_so_many_are_kept(router: RouterStore) -> None:
    rules = [replace(RULE, id=f"rule-{number}") for number in range(3)]
    await router.keep([REST, BUS], rules)
    await router.count({rule.id: RuleOutcome(0, 1, ("an error",)) for rule in rules})
    await router.keep([REST, BUS], [])
    assert len(await router.rules()) == len(await router.outcomes()) == 1


async def test_what_is_equal_is_left_as_it_is(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    before = await router.rules()
    await router.keep([REST, BUS], [RULE])
    assert await router.rules() == before


async def test_an_endpoint_that_no_rule_names_goes_with_its_object(router: RouterStore) -> None:
    await router.keep([REST, BUS], [RULE])
    other = replace(BUS, id="other-id")
    await router.keep([REST, BUS, other], [RULE])
    await router.keep([REST, BUS], [replace(RULE, id="new-id")])
    assert {rule["target"]["id"] for rule in await router.rules()} == {"bus-id"}
