"""Rules say at the API server what became of their Messages, in KubeEdge's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes_fixtures import EVENTS, RULES, following, server_with, until

from edgemesh.store.router import RuleOutcome

Body = dict[str, Any]
ENDPOINTS = "/apis/rules.kubeedge.io/v1/ruleendpoints"


def endpoint(name: str, type_: str, **properties: str) -> Body:
    spec = {"ruleEndpointType": type_, "properties": properties}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def rule(name: str, target: str) -> Body:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "source": "in",
            "sourceResource": {"path": "/in"},
            "target": target,
            "targetResource": {"path": "/out"},
        },
    }


async def test_what_became_of_a_rules_messages_is_written_and_is_no_change_of_it(
    tmp_path: Path,
) -> None:
    async with server_with("rules", "ruleendpoints") as server:
        server.put(ENDPOINTS, endpoint("in", "rest"))
        server.put(ENDPOINTS, endpoint("out", "servicebus", service_port="8080"))
        server.put(RULES, rule("good", "out"))
        async with following(tmp_path, server) as cloud:
            await until(lambda: cloud.router.rulebook.rules)
            # Other objects, too, are new revisions.
            await until(lambda: cloud.status().kinds and not cloud.status().unsynced)
            [known] = cloud.router.rulebook.rules.values()
            assert known.id == cloud.seen(RULES, "good")["metadata"]["uid"]
            revision = cloud.store.revision
            await cloud.router.tables.count({known.id: RuleOutcome(2, 1, ("no answer",))})
            await until(lambda: "status" in cloud.seen(RULES, "good"))
            assert cloud.seen(RULES, "good")["status"] == {
                "successMessages": 2,
                "failMessages": 1,
                "errors": ["no answer"],
            }
            await cloud.router.tables.count({known.id: RuleOutcome(1)})
            await until(lambda: cloud.seen(RULES, "good")["status"]["successMessages"] == 3)
            assert cloud.store.revision == revision
        assert not server.violations


async def test_a_rule_without_effect_is_told_by_an_event(tmp_path: Path) -> None:
    async with server_with("rules", "ruleendpoints") as server:
        server.put(ENDPOINTS, endpoint("in", "rest"))
        server.put(RULES, rule("bad", "nowhere"))
        async with following(tmp_path, server):
            await until(lambda: server.objects(EVENTS))
            [event] = server.objects(EVENTS).values()
            assert (event["regarding"]["name"], event["reason"]) == ("bad", "NoEffect")
            assert event["note"] == "spec.target: there is no RuleEndpoint default/nowhere"
