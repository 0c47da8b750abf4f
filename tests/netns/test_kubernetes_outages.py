"""What happens to traffic while an API server is away, changes, or has not everything yet."""

from __future__ import annotations

import time

import pytest
from kube_cluster import KubeCluster, answers, kube_cluster, names, seconds_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

NEAR, FAR = "edge-1", "edge-2"
QUICK = {"dial_seconds": 1.0, "max_retry_seconds": 1.0}


def serve_web(cluster: KubeCluster) -> None:
    """Let a caller, the Service it calls, and another Deployment be there."""
    cluster.scale("caller", 1, NEAR)
    cluster.scale("web", 1, FAR)
    cluster.scale("other", 1, FAR)
    since = cluster.serve("web", "web")
    until_answered_by(cluster, "web", since)


def until_answered_by(cluster: KubeCluster, deployment: str, since: float) -> float:
    (caller,) = cluster.pods("caller")
    wanted = names(cluster.pods(deployment))
    return seconds_until(
        lambda: answers(caller, "web"), wanted.__contains__, since, f"{deployment} answers", 5
    )


def test_without_api_server_agents_serve_what_they_had_after_a_restart_and_then_catch_up() -> None:
    with kube_cluster(following=QUICK) as cluster:
        serve_web(cluster)
        with cluster.without_server():
            cluster.restart_agents(NEAR, FAR)
            until_answered_by(cluster, "web", time.monotonic())
            cluster.serve("web", "other")
            cluster.server.tell("compact")
            until_answered_by(cluster, "web", time.monotonic())
        took = until_answered_by(cluster, "other", time.monotonic())
        print(f"followed {took:.1f} s after the API server was there again")
        assert cluster.server.violations() == []


@pytest.mark.long
def test_a_kind_that_the_api_server_gets_later_is_followed_without_a_restart() -> None:
    with kube_cluster(crds=(), following={"missing_seconds": 1.0}) as cluster:
        serve_web(cluster)
        cluster.serve("elsewhere", "other")
        cluster.server.install_crd("virtualservices")
        until_answered_by(cluster, "other", cluster.route("web", "elsewhere"))
        assert cluster.server.violations() == []


@pytest.mark.long
def test_a_connection_that_died_in_silence_is_noticed_and_the_server_asked_anew() -> None:
    with kube_cluster(following={**QUICK, "silence_seconds": 5.0}) as cluster:
        serve_web(cluster)
        with cluster.without_server():
            cluster.serve("web", "other")
            cluster.server.tell("compact")
            until_answered_by(cluster, "web", time.monotonic())
        until_answered_by(cluster, "other", time.monotonic())


@pytest.mark.long
def test_a_metaserver_without_its_cloud_takes_nothing_from_agents() -> None:
    with kube_cluster("--metaserver", following={**QUICK, "metaserver_seconds": 2.0}) as cluster:
        serve_web(cluster)
        cluster.server.tell("lose_cloud")
        cluster.restart_agents(NEAR, FAR)
        # Longer than it takes MetaServer to say, with an empty list, that it knows nothing.
        since = time.monotonic()
        while time.monotonic() - since < 15:
            until_answered_by(cluster, "web", time.monotonic())
        cluster.serve("web", "other")
        cluster.server.tell("return_cloud")
        until_answered_by(cluster, "other", time.monotonic())
