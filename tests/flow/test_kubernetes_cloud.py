"""A cloud follows an API server, and tells it how objects stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
