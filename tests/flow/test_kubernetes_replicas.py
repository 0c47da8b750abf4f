"""Clouds that share a store share what one of them follows, and another takes over from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes_fixtures import POLICIES, Following, following, server_with, until
from metamanager_fixtures import service
from postgres_cluster import Cluster, running_cluster
from test_kubernetes_cloud import SERVICES, policy, reasons


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


async def until_stored(cloud: Following, *names: str) -> None:
    async def are_there() -> bool:
        return set(await cloud.stored("Service")) == set(names)

    await until(are_there)


async def test_one_follows_for_all_and_another_takes_over(cluster: Cluster) -> None:
    url = cluster.new_database()
    async with server_with("trafficpolicies") as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(POLICIES, policy())
        async with following(url, server, "b") as second:
            async with following(url, server, "a") as first:
                # The one is first or the other.
                await until(lambda: first.status().holds or second.status().holds)
                [holder] = [one for one in (first, second) if one.status().holds]
                [other] = [one for one in (first, second) if one is not holder]
                await until_stored(holder, "web")
                await until(lambda: reasons(server.objects(POLICIES)["default", "limit"]))
                await until(lambda: other.status().holder == holder.status().holder)
                assert not other.status().follows
                assert not list(other.status().problems())
                assert set(await other.stored("Service")) == {"web"}
                await until(lambda: len(server.watches) == len(holder.status().kinds))
                watches = len(server.watches)
            server.delete(SERVICES, "default", "web")
            server.put(SERVICES, service("api", clusterIP="10.96.0.8"))
            server.put(POLICIES, policy("second", of="api"))
            await until(lambda: second.status().holds)
            await until_stored(second, "api")
            await until(lambda: reasons(server.objects(POLICIES)["default", "second"]))
            await until(lambda: len(server.watches) == watches)
