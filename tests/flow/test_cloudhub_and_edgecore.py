"""Our cloudhub with EdgeCores that keep to the recorded one in everything, over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from cloud_fixtures import Cloud, serving
from kubeedge_cloudcore import a_stamp
from kubeedge_edgecore import FakeEdgeCore, patch_content, run_edgecore
from kubeedge_pace import RESENDS, Pace
from pki_fixtures import a_node

from edgemesh.bus.pki.identity import Identity
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.kubeedge.application import WATCH_SYNC, Verb, read_watches
from edgemesh.wire.message import Operation, new_message

NODE = "edge-1"
OWN = f"null/node/{NODE}"
POD = "default/pod/web"
PACE = Pace(0.06, stalls=30)


def node_body(**labels: str) -> dict[str, Any]:
    metadata = {"name": NODE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}}


def pod_body(**labels: str) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "default", "labels": labels}
    spec = {"nodeName": NODE, "containers": []}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with serving(tmp_path, resend_seconds=PACE.resend, silence_seconds=PACE.silence) as cloud:
        yield cloud


@pytest.fixture
def identity(cloud: Cloud, tmp_path: Path) -> Identity:
    return a_node(cloud.credentials.authority, tmp_path, NODE, kubeedge=True)


@asynccontextmanager
async def edgecore(cloud: Cloud, identity: Identity) -> AsyncIterator[FakeEdgeCore]:
    async with run_edgecore(identity, cloud.port, pace=PACE, host="localhost") as edge:
        yield edge
        assert edge.violations == []


async def test_an_edge_is_pushed_its_node_and_its_pods(cloud: Cloud, identity: Identity) -> None:
    await cloud.apply(node_body(), pod_body(v="1"))
    async with edgecore(cloud, identity) as edge:
        await edge.wait_until(lambda: set(edge.objects) == {OWN, POD})
        await cloud.apply(pod_body(v="2"))
        await edge.wait_until(lambda: edge.objects[POD]["metadata"]["labels"] == {"v": "2"})
        await cloud.delete(ObjectKey("Pod", "default", "web"))
        await edge.wait_until(lambda: POD not in edge.objects)


async def test_the_first_push_is_its_node(cloud: Cloud, identity: Identity) -> None:
    await cloud.apply(pod_body(), node_body())
    async with edgecore(cloud, identity) as edge:
        await edge.wait_until(lambda: len(edge.kept) >= 2)
        assert [resource for _, _, resource in edge.kept] == [OWN, POD]


async def test_what_is_not_acknowledged_is_sent_five_times_and_then_its_newest_state(
    cloud: Cloud, identity: Identity
) -> None:
    await cloud.apply(node_body(v="1"))
    async with edgecore(cloud, identity) as edge:
        edge.deaf = True
        await edge.wait_until(lambda: len(edge.heard) >= 1)
        await cloud.apply(node_body(v="2"))
        await edge.wait_until(lambda: len(edge.heard) >= RESENDS + 2)
        heard = edge.heard[: RESENDS + 2]
        assert len({one.header.msg_id for one in heard[:-1]}) == 1
        assert heard[-1].header.msg_id != heard[0].header.msg_id
        assert heard[-1].value()["metadata"]["labels"] == {"v": "2"}


async def test_while_one_message_waits_no_other_is_sent(cloud: Cloud, identity: Identity) -> None:
    await cloud.apply(node_body(), pod_body())
    async with edgecore(cloud, identity) as edge:
        edge.deaf = True
        await edge.wait_until(lambda: len(edge.heard) >= RESENDS)
        assert {one.route.resource for one in edge.heard[:RESENDS]} == {OWN}
        edge.deaf = False
        await edge.wait_until(lambda: POD in edge.objects)


async def test_keepalives_hold_a_session_and_silence_ends_it(
    mock_clock: trio.testing.MockClock, cloud: Cloud, identity: Identity
) -> None:
    async with edgecore(cloud, identity) as edge:

        async def let_pass(seconds: float) -> None:
            for _ in range(round(seconds / PACE.keepalive)):
                mock_clock.jump(PACE.keepalive)
                await trio.testing.wait_all_tasks_blocked(0.01)

        await let_pass(1.5 * PACE.silence)
        assert not edge.ended.is_set()
        edge.mute = True
        await let_pass(1.5 * PACE.silence)
        await edge.ended.wait()


async def test_a_second_connection_ends_the_first(cloud: Cloud, identity: Identity) -> None:
    await cloud.apply(node_body())
    async with edgecore(cloud, identity) as first, edgecore(cloud, identity) as second:
        await first.ended.wait()
        await second.wait_until(lambda: OWN in second.objects)


async def test_questions_are_answered_as_cloudcore_does(cloud: Cloud, identity: Identity) -> None:
    await cloud.apply(node_body())
    async with edgecore(cloud, identity) as edge:
        found = await edge.ask_meta(Operation.QUERY, f"default/node/{NODE}")
        assert found.object["metadata"]["name"] == NODE
        refused = await edge.ask_meta(Operation.QUERY, "default/secret/of-nobody")
        assert refused.status is not None


async def test_an_edge_that_reconnects_gets_what_it_has_missed(
    cloud: Cloud, identity: Identity
) -> None:
    await cloud.apply(node_body(), pod_body(v="1"))
    async with edgecore(cloud, identity) as edge:
        await edge.wait_until(lambda: POD in edge.objects)
    await cloud.apply(pod_body(v="2"))
    async with edgecore(cloud, identity) as edge:
        await edge.wait_until(lambda: POD in edge.objects)
        assert edge.objects[POD]["metadata"]["labels"] == {"v": "2"}


async def test_an_edge_registers(cloud: Cloud, identity: Identity) -> None:
    async with edgecore(cloud, identity) as edge:
        await edge.register()
        await edge.wait_until(lambda: OWN in edge.objects)
        found = await edge.ask_meta(Operation.QUERY, f"default/node/{NODE}")
        assert found.object["metadata"]["labels"] == {"node-role.kubernetes.io/edge": ""}
        assert found.object["status"]["conditions"] == [{"type": "Ready", "status": "True"}]
        lease = await edge.ask_meta(Operation.QUERY, f"kube-node-lease/lease/{NODE}")
        assert lease.object["spec"]["holderIdentity"] == NODE


async def test_a_node_that_is_registered_already_keeps_what_it_has(
    cloud: Cloud, identity: Identity
) -> None:
    await cloud.apply(node_body(zone="a"))
    async with edgecore(cloud, identity) as edge:
        body = {"metadata": {"name": NODE, "labels": {"arch": "x"}}, "spec": {}}
        again = await edge.ask_meta(Operation.INSERT, OWN, body)
        assert again.status is not None
        assert again.status["reason"] == "AlreadyExists"
        updated = await edge.ask_meta(Operation.UPDATE, OWN, body)
        assert updated.object["metadata"]["labels"] == {"zone": "a", "arch": "x"}


async def test_heartbeats_change_nothing_that_others_would_be_sent(
    cloud: Cloud, identity: Identity
) -> None:
    await cloud.apply(node_body())
    async with edgecore(cloud, identity) as edge:

        async def report(second: int) -> str:
            beat = {"type": "Ready", "status": "True", "lastHeartbeatTime": f"12:00:{second:02}Z"}
            patch = patch_content({"status": {"conditions": [beat]}, "spec": {"taints": []}})
            answered = await edge.ask_meta(Operation.PATCH, f"null/nodepatch/{NODE}", patch)
            assert "taints" not in answered.object["spec"]
            return str(answered.object["metadata"]["resourceVersion"])

        assert await report(1) == await report(2)


async def test_pods_report_their_status(cloud: Cloud, identity: Identity) -> None:
    await cloud.apply(node_body(), pod_body())
    async with edgecore(cloud, identity) as edge:
        patch = patch_content({"status": {"podIP": "10.244.1.7", "phase": "Running"}})
        answered = await edge.ask_meta(Operation.PATCH, "default/podpatch/web", patch)
        assert answered.object["status"]["podIP"] == "10.244.1.7"
        refused = await edge.ask_meta(Operation.PATCH, "default/podpatch/other", patch)
        assert refused.status is not None
        assert refused.status["code"] == 403


async def test_writes_that_are_none_are_answered_with_what_is_wrong(
    cloud: Cloud, identity: Identity
) -> None:
    async with edgecore(cloud, identity) as edge:
        patch = patch_content({"status": {"x": 1}})
        missing = await edge.ask_meta(Operation.PATCH, f"null/nodepatch/{NODE}", patch)
        assert missing.not_found
        body = {"metadata": {"name": NODE, "labels": 5}}
        invalid = await edge.ask_meta(Operation.INSERT, OWN, body)
        assert invalid.status is not None
        assert invalid.status["code"] == 422


async def test_metaserver_reads_the_store(cloud: Cloud, identity: Identity) -> None:
    metadata = {"name": "web", "namespace": "default"}
    spec = {"ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    await cloud.apply(service)
    async with edgecore(cloud, identity) as edge:
        listed = (await edge.apply("/core/v1/services/null/null", Verb.LIST)).response()
        assert [each["metadata"]["name"] for each in listed["items"]] == ["web"]
        one = await edge.apply("/core/v1/services/default/web", Verb.GET)
        assert one.response()["spec"]["ports"][0]["port"] == 80
        written = await edge.apply("/core/v1/services/default/web", Verb.DELETE)
        assert written.error_status is not None
        watched = await edge.apply("/core/v1/services/null/null", Verb.WATCH)
        assert watched.status == "Rejected"
        watches = new_message(
            a_stamp(),
            source="metaserver",
            group="dynamiccontroller",
            operation="null",
            resource=WATCH_SYNC,
            content={watched.id: watched},
        )
        assert set(read_watches(await edge.ask(watches))) == {watched.id}
