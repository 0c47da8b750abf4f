"""What an API server does not allow is told, and holds up nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes_fixtures import POLICIES, following, server_with, until
from metamanager_fixtures import service
from test_kubernetes_cloud import SERVICES, policy, reasons
from test_kubernetes_rights import roles_of

Body = dict[str, Any]


def roles_without(resource: str) -> list[Body]:
    """Those of a cloud, without the right to anything about a resource."""
    return [
        {
            **role,
            "rules": [
                {**rule, "resources": [each for each in rule["resources"] if each != resource]}
                for rule in role["rules"]
            ],
        }
        for role in roles_of("cloud")
    ]


async def test_what_may_not_be_read_holds_up_nothing_else(tmp_path: Path) -> None:
    async with server_with("trafficpolicies") as server:
        server.roles = roles_without("pods")
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        async with following(tmp_path, server) as cloud:

            def told() -> list[str]:
                return [each for each in cloud.status().problems() if "pods is forbidden" in each]

            async def others_stored() -> bool:
                return set(await cloud.stored("Service")) == {"web"}

            await until(told)
            await until(others_stored)
            assert cloud.status().reached


async def test_a_status_that_may_not_be_written_is_given_up(tmp_path: Path) -> None:
    async with server_with("trafficpolicies") as server:
        server.roles = roles_without("trafficpolicies/status")
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(POLICIES, policy())

        def patches() -> int:
            return sum(request.method == "PATCH" for request in server.requests)

        async with following(tmp_path, server) as cloud:
            await until(lambda: patches() == 1)
            server.put(SERVICES, service("api", clusterIP="10.96.0.8"))
            server.put(POLICIES, policy("second"))
            await until(lambda: patches() == 2)
            assert not reasons(cloud.seen(POLICIES, "limit"))
