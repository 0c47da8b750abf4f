"""A cloud follows an API server, and tells it how objects stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apiserver.resources import definition_of
from kubernetes_fixtures import EVENTS, LEASES, POLICIES, following, server_with, until
from metamanager_fixtures import endpoint_slice, pod, service

Body = dict[str, Any]
SERVICES = "/api/v1/services"


def policy(name: str = "limit", of: str = "web", **spec: Any) -> Body:
    target = {"group": "", "kind": "Service", "name": of}
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"targetRef": target, **spec},
    }


def reasons(body: Body) -> dict[str, str]:
    conditions = body.get("status", {}).get("conditions", [])
    return {each["type"]: f"{each['status']} {each['reason']}" for each in conditions}


def said_of(body: Body) -> set[int]:
    """The generations that conditions are about."""
    conditions = body.get("status", {}).get("conditions", [])
    return {each["observedGeneration"] for each in conditions}


async def test_what_the_server_has_is_stored_and_follows_it(tmp_path: Path) -> None:
    async with server_with() as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put("/api/v1/pods", pod("web-1", "10.0.0.1", app="web"))
        async with following(tmp_path, server) as cloud:

            async def names() -> set[str]:
                return set(await cloud.stored("Service"))

            await until(lambda: cloud.status().kinds and not cloud.status().unsynced)
            assert await names() == {"web"}
            assert set(await cloud.stored("Pod")) == {"web-1"}
            assert cloud.status().reached
            server.put(SERVICES, service("api", clusterIP="10.96.0.8"))
            server.delete(SERVICES, "default", "web")

            async def followed() -> bool:
                return await names() == {"api"}

            await until(followed)
        assert not server.violations


async def test_how_a_policy_stands_is_written_and_changes_with_what_it_is_about(
    tmp_path: Path,
) -> None:
    async with server_with("trafficpolicies") as server:
        server.put(POLICIES, policy())
        async with following(tmp_path, server) as cloud:

            def said() -> dict[str, str]:
                return reasons(cloud.seen(POLICIES, "limit"))

            await until(lambda: said().get("Accepted") == "False TargetNotFound")
            server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
            await until(lambda: said().get("Accepted") == "True Accepted")
            [accepted, programmed] = cloud.seen(POLICIES, "limit")["status"]["conditions"]
            assert programmed["message"] == "in force at default/web:80"
            assert accepted["observedGeneration"] == 1
            # What was written is no news, here and there.
            before = cloud.seen(POLICIES, "limit")
            server.put(POLICIES, policy("second", of="nowhere"))
            await until(lambda: reasons(cloud.seen(POLICIES, "second")))
            assert cloud.seen(POLICIES, "limit") is before
            [stored] = [
                one
                for name, one in (await cloud.stored("TrafficPolicy")).items()
                if name == "limit"
            ]
            assert "status" not in stored.body
            assert cloud.status().holds
        assert not server.violations


async def test_what_is_refused_is_told_by_an_event_once(tmp_path: Path) -> None:
    async with server_with("trafficpolicies") as server:
        server.put(POLICIES, policy(of="nowhere"))
        wrong = service("wrong", ports=[{"port": 80, "targetPort": "not a port!"}])
        server.put(SERVICES, wrong)
        server.put(SERVICES, service("right"))
        async with following(tmp_path, server) as cloud:

            def told() -> dict[str, str]:
                events = server.objects(EVENTS).values()
                return {each["regarding"]["name"]: each["reason"] for each in events}

            await until(lambda: len(told()) == 2)
            assert told() == {"limit": "TargetNotFound", "wrong": "NotStored"}
            assert set(await cloud.stored("Service")) == {"right"}
            assert "Service default/wrong" in cloud.status().refused
            server.put(POLICIES, policy(of="nowhere", path="relay"))
            server.put(SERVICES, {**wrong, "metadata": {**wrong["metadata"], "labels": {"a": "b"}}})
            server.put(SERVICES, service("third"))
            # What says the same of the new version comes behind an Event, if there was one.
            await until(lambda: said_of(cloud.seen(POLICIES, "limit")) == {2})
            server.put(POLICIES, policy("other", of="nowhere"))
            await until(lambda: "other" in told())
            assert len(server.objects(EVENTS)) == 3


async def test_a_status_that_another_writes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = "/apis/gateway.networking.k8s.io/v1/httproutes"
    theirs = {
        "parentRef": {"name": "edge", "kind": "Gateway"},
        "controllerName": "example.com/gateway",
        "conditions": [],
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "web", "kind": "Service", "group": ""}],
            "rules": [{"backendRefs": [{"name": "gone", "port": 80}]}],
        },
        "status": {"parents": [theirs]},
    }
    async with server_with("httproutes") as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(path, route)
        async with following(tmp_path, server) as cloud:

            def parents() -> list[Body]:
                return list(cloud.seen(path, "web").get("status", {}).get("parents", []))

            await until(lambda: len(parents()) == 2)
            # Everything was there when the first was written.
            assert parents()[0] == theirs
            assert parents()[1]["controllerName"] == "edgemesh.io/edgecontroller"
            said = {each["type"]: each["reason"] for each in parents()[1]["conditions"]}
            assert said["Accepted"] == "Accepted"
            assert said["ResolvedRefs"] == "BackendNotFound"
            server.put(path, {**route, "status": {"parents": []}})
            await until(lambda: len(parents()) == 1 and parents()[0] != theirs)


async def test_kinds_that_come_later_are_followed(tmp_path: Path) -> None:
    async with server_with() as server, following(tmp_path, server) as cloud:
        await until(lambda: "TrafficPolicy" in cloud.status().unserved)
        server.install_crd(definition_of("trafficpolicies"))
        server.put(POLICIES, policy())
        await until(lambda: cloud.seen(POLICIES, "limit").get("status"))
        assert set(await cloud.stored("TrafficPolicy")) == {"limit"}
        assert "TrafficPolicy" not in cloud.status().unserved
        assert not server.violations


async def test_the_best_version_that_is_served_is_followed(tmp_path: Path) -> None:
    async with server_with() as server:
        server.install_crd(definition_of("destinationrules", versions=["v1beta1", "v1alpha3"]))
        async with following(tmp_path, server) as cloud:

            def path() -> str:
                kinds = {each.kind: each.path for each in cloud.status().kinds}
                return kinds.get("DestinationRule", "")

            await until(lambda: path() == "/apis/networking.istio.io/v1beta1/destinationrules")
            server.install_crd(definition_of("destinationrules"))
            await until(lambda: path() == "/apis/networking.istio.io/v1/destinationrules")


async def test_endpoints_are_not_followed_where_there_are_slices(tmp_path: Path) -> None:
    async with server_with() as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(
            "/apis/discovery.k8s.io/v1/endpointslices", endpoint_slice("a", "web", "10.0.0.1")
        )
        async with following(tmp_path, server) as cloud:
            await until(lambda: cloud.status().kinds and not cloud.status().unsynced)
            assert "Endpoints" not in {each.kind for each in cloud.status().kinds}
            assert set(await cloud.stored("EndpointSlice")) == {"a"}


async def test_one_of_two_clouds_writes_and_the_other_takes_over(tmp_path: Path) -> None:
    async with server_with("trafficpolicies") as server:
        server.put(POLICIES, policy())
        async with following(tmp_path / "b", server, "cloud-b", lease_seconds=60) as second:
            await until(lambda: second.status().holds)
            async with following(tmp_path / "a", server, "cloud-a", lease_seconds=60) as first:
                await until(lambda: first.status().holder == "cloud-b")
                await until(lambda: first.status().kinds and not first.status().unsynced)
                assert not first.status().holds
            lease = server.objects(LEASES)["edgemesh", "edgemesh-cloud"]
            assert lease["spec"]["holderIdentity"] == "cloud-b"
        # It has given the Lease up at its end.
        lease = server.objects(LEASES)["edgemesh", "edgemesh-cloud"]
        assert lease["spec"]["holderIdentity"] == ""
        async with following(tmp_path / "a", server, "cloud-a", lease_seconds=60) as first:
            await until(lambda: first.status().holds)
            lease = server.objects(LEASES)["edgemesh", "edgemesh-cloud"]
            assert lease["spec"]["leaseTransitions"] == 1


async def test_what_was_followed_is_served_when_there_is_no_server_any_more(
    tmp_path: Path,
) -> None:
    async with server_with() as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        async with following(tmp_path, server) as cloud:
            await until(lambda: cloud.status().kinds and not cloud.status().unsynced)
    async with following(tmp_path, server) as again:
        await until(lambda: again.status().problem)
        assert not again.status().reached
        assert set(await again.stored("Service")) == {"web"}
        assert any("API server" in each for each in again.status().problems())
