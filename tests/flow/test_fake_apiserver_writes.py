"""Writes to the fake API server: what it keeps, what it refuses, and who may."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver.client import Heard, ask
from apiserver.resources import Body
from apiserver.reviews import TokenUser
from apiserver.server import ApiServer

POLICIES = "/apis/policy.edgemesh.io/v1alpha1/namespaces/default/trafficpolicies"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def server() -> ApiServer:
    made = ApiServer()
    made.install_crd("trafficpolicies")
    return made


def policy(**more: Any) -> Body:
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "p"},
        "spec": {"a": 1},
        **more,
    }


async def created(server: ApiServer) -> Body:
    heard = await ask(server, "POST", POLICIES, body=policy())
    assert heard.status == 201
    body: Body = heard.json
    return body


async def test_a_write_of_the_status_changes_nothing_else(server: ApiServer) -> None:
    before = await created(server)
    changed = policy(metadata=before["metadata"], spec={"a": 2}, status={"conditions": []})
    heard = await ask(server, "PUT", f"{POLICIES}/p/status", body=changed)
    assert heard.json["spec"] == {"a": 1}
    assert heard.json["status"] == {"conditions": []}
    assert heard.json["metadata"]["generation"] == 1


async def test_a_write_of_the_object_does_not_change_its_status(server: ApiServer) -> None:
    before = await created(server)
    changed = policy(metadata=before["metadata"], spec={"a": 2}, status={"conditions": []})
    heard = await ask(server, "PUT", f"{POLICIES}/p", body=changed)
    assert heard.json["spec"] == {"a": 2}
    assert "status" not in heard.json
    assert heard.json["metadata"]["generation"] == 2


async def test_a_patch_that_changes_nothing_is_no_new_version(server: ApiServer) -> None:
    before = await created(server)
    patch = {"spec": {"a": 1}}
    heard = await ask(server, "PATCH", f"{POLICIES}/p", headers=MERGE, body=patch)
    assert heard.json == before


async def test_a_patch_of_an_older_version_is_a_conflict(server: ApiServer) -> None:
    before = await created(server)
    await ask(server, "PATCH", f"{POLICIES}/p", headers=MERGE, body={"spec": {"a": 2}})
    old = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}, "spec": {}}
    heard = await ask(server, "PATCH", f"{POLICIES}/p", headers=MERGE, body=old)
    assert (heard.status, heard.json["reason"]) == (409, "Conflict")


async def test_a_type_without_status_has_no_such_path(server: ApiServer) -> None:
    heard = await ask(server, "PATCH", f"{LEASES}/l/status", headers=MERGE, body={})
    assert (heard.status, heard.body) == (404, b"404 page not found\n")


async def test_a_lease_is_not_taken_without_its_version(server: ApiServer) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    await ask(server, "POST", LEASES, body=lease)
    heard = await ask(server, "PUT", f"{LEASES}/l", body=lease)
    assert heard.status == 422
    assert "must be specified for an update" in heard.json["message"]


async def test_nothing_is_created_in_a_namespace_that_is_not_there(server: ApiServer) -> None:
    elsewhere = POLICIES.replace("/default/", "/nowhere/")
    heard = await ask(server, "POST", elsewhere, body=policy())
    assert heard.status == 404
    assert heard.json["message"] == 'namespaces "nowhere" not found'


async def test_an_event_gets_a_name_from_what_it_may_begin_with(server: ApiServer) -> None:
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "refused-"},
    }
    names = [(await ask(server, "POST", path, body=event)).json["metadata"]["name"] for _ in "ab"]
    assert len(set(names)) == 2
    assert all(name.startswith("refused-") for name in names)


async def test_a_crd_that_is_posted_is_served_and_goes_with_its_deletion(
    server: ApiServer,
) -> None:
    rules = "/apis/networking.istio.io/v1beta1/destinationrules"
    assert (await ask(server, "GET", rules)).status == 404
    server.install_crd("destinationrules")
    server.put(rules, {"metadata": {"name": "r"}})
    heard = await ask(server, "GET", rules.replace("v1beta1", "v1"))
    assert heard.json["items"][0]["apiVersion"] == "networking.istio.io/v1"
    server.remove_crd("destinationrules.networking.istio.io")
    assert (await ask(server, "GET", rules)).status == 404


def may(*verbs: str, namespace: str = "", **more: Any) -> Body:
    groups = ["policy.edgemesh.io"]
    rule = {"apiGroups": groups, "resources": ["trafficpolicies"], "verbs": list(verbs), **more}
    return {"metadata": {"namespace": namespace} if namespace else {}, "rules": [rule]}


async def test_what_no_rule_allows_is_forbidden(server: ApiServer) -> None:
    everywhere = "/apis/policy.edgemesh.io/v1alpha1/trafficpolicies"
    server.roles = [may("list")]
    assert (await ask(server, "GET", everywhere)).status == 200
    heard = await ask(server, "GET", f"{everywhere}?watch=true&timeoutSeconds=1")
    assert (heard.status, heard.json["reason"]) == (403, "Forbidden")
    assert heard.json["message"] == (
        "trafficpolicies.policy.edgemesh.io is forbidden: User "
        '"system:serviceaccount:edgemesh:edgemesh" cannot watch resource "trafficpolicies" in API '
        'group "policy.edgemesh.io" at the cluster scope'
    )


async def test_a_role_counts_in_its_namespace_and_for_the_names_that_it_says(
    server: ApiServer,
) -> None:
    await created(server)
    server.roles = [may("list", namespace="elsewhere"), may("get", resourceNames=["p"])]
    assert (await ask(server, "GET", POLICIES)).status == 403
    assert (await ask(server, "GET", f"{POLICIES}/p")).status == 200
    assert (await ask(server, "GET", f"{POLICIES}/other")).status == 403
    assert [words.split(":")[0] for words in server.violations] == ["asks what it may not"] * 2


async def reviewed(server: ApiServer, token: str, *audiences: str) -> Heard:
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": list(audiences)},
    }
    return await ask(server, "POST", REVIEWS, body=review)


async def test_a_token_is_reviewed_for_its_audience(server: ApiServer) -> None:
    extra = {"authentication.kubernetes.io/node-name": ["edge-1"]}
    server.reviewer.users["good"] = TokenUser("system:serviceaccount:a:b", ("edgemesh",), extra)
    status = (await reviewed(server, "good", "edgemesh")).json["status"]
    assert status["authenticated"] is True
    assert status["audiences"] == ["edgemesh"]
    assert status["user"]["extra"] == extra
    assert "authenticated" not in (await reviewed(server, "good", "other")).json["status"]
    assert "authenticated" not in (await reviewed(server, "bad", "edgemesh")).json["status"]
