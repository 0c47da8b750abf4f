"""The fakes of CloudCore and EdgeCore keep to what was recorded, at each other and against us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from kubeedge_cloudcore import FakeCloudCore, a_stamp, run_cloudcore
from kubeedge_edgecore import FakeEdgeCore, run_edgecore
from kubeedge_pace import Pace
from pki_fixtures import a_node, an_authority
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

from edgemesh.bus.pki.authority import Authority
from edgemesh.bus.pki.contexts import client_context
from edgemesh.bus.pki.identity import Identity
from edgemesh.wire.kubeedge import application, router, session
from edgemesh.wire.message import Operation, encode_message

NODE = "edge-1"
OWN = f"null/node/{NODE}"
POD = "default/pod/web"
PACE = Pace(0.06, stalls=30)


@pytest.fixture
def pace() -> Pace:
    return PACE


@pytest.fixture
def authority() -> Authority:
    return an_authority()


@pytest.fixture
def edge_identity(authority: Authority, tmp_path: Path) -> Identity:
    return a_node(authority, tmp_path, NODE, kubeedge=True)


@pytest.fixture
async def core(authority: Authority, tmp_path: Path, pace: Pace) -> AsyncIterator[FakeCloudCore]:
    async with run_cloudcore(authority, tmp_path, pace=pace) as core:
        yield core


@pytest.fixture
async def edge(
    core: FakeCloudCore, edge_identity: Identity, pace: Pace
) -> AsyncIterator[FakeEdgeCore]:
    async with run_edgecore(edge_identity, core.port, pace=pace) as edge:
        await core.wait_for(NODE)
        yield edge
        assert (core.violations, edge.violations) == ([], [])


def pushed(edge: FakeEdgeCore, resource: str) -> list[str]:
    return [operation for _, operation, about in edge.kept if about == resource]


async def test_an_edge_registers_and_is_pushed_its_node(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    await edge.register()
    assert OWN in core.store
    await core.put(NODE, OWN, {"metadata": {"labels": {"zone": "a"}}})
    await edge.wait_until(
        lambda: (
            edge.objects.get(OWN, {})["metadata"].get("labels") == {"zone": "a"}
            if OWN in edge.objects
            else False
        )
    )
    found = await edge.ask_meta(Operation.QUERY, f"default/node/{NODE}")
    assert found.object["metadata"]["name"] == NODE


async def test_what_is_not_acknowledged_is_sent_five_times_and_then_its_newest_state(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    edge.deaf = True
    await core.put(NODE, POD, {"spec": {"v": 1}})
    await edge.wait_until(lambda: len(edge.heard) >= 1)
    await core.put(NODE, POD, {"spec": {"v": 2}})
    await edge.wait_until(lambda: len(edge.heard) >= 6)
    first, *again = [each.header.msg_id for each in edge.heard[:6]]
    assert again[:4] == [first] * 4
    assert again[4] != first
    assert edge.heard[5].value()["spec"] == {"v": 2}


async def test_while_one_message_waits_no_other_is_sent(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    edge.deaf = True
    await core.put(NODE, POD, {"spec": {}})
    await core.put(NODE, "default/pod/other", {"spec": {}})
    await edge.wait_until(lambda: len(edge.heard) >= 4)
    assert {each.route.resource for each in edge.heard[:4]} == {POD}
    edge.deaf = False
    await edge.wait_until(lambda: "default/pod/other" in edge.objects)


async def test_a_deletion_that_was_missed_comes_as_a_tombstone(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    await core.put(NODE, POD, {"spec": {}})
    await edge.wait_until(lambda: POD in edge.objects)
    await core.remove(NODE, POD)
    await edge.wait_until(lambda: POD not in edge.objects)
    assert pushed(edge, POD) == ["insert", "delete"]
    assert set(edge.heard[-1].value()) == {"metadata"}


async def test_a_second_connection_ends_the_first(
    core: FakeCloudCore, edge: FakeEdgeCore, edge_identity: Identity
) -> None:
    first = core.sessions[NODE]
    async with run_edgecore(edge_identity, core.port, pace=PACE):
        await core.wait_for(NODE, after=first)
        await edge.ended.wait()


@pytest.mark.parametrize("pace", [Pace(0.06)])
async def test_silence_ends_a_connection_whatever_else_is_said(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    edge.mute = True
    while not edge.ended.is_set():
        with trio.move_on_after(0.05):
            await edge.ended.wait()
        if not edge.ended.is_set():
            try:
                await edge.ask_meta(Operation.QUERY, f"kube-node-lease/lease/{NODE}")
            except (ConnectionClosed, trio.TooSlowError):
                break
    await edge.ended.wait()


async def test_an_edge_with_another_nodes_certificate_is_met_with_silence(
    core: FakeCloudCore, edge_identity: Identity
) -> None:
    async with run_edgecore(edge_identity, core.port, node="edge-2", pace=Pace(0.001)) as edge:
        with pytest.raises(trio.TooSlowError):
            await edge.ask_meta(Operation.QUERY, "default/node/edge-2")
    assert core.sessions == {}
    assert not core.connections[0].accepted


async def test_without_authorization_any_edge_can_be_any_node(
    authority: Authority, edge_identity: Identity, tmp_path: Path
) -> None:
    async with (
        run_cloudcore(authority, tmp_path, pace=PACE, authorization=False) as core,
        run_edgecore(edge_identity, core.port, pace=PACE, node="edge-2"),
    ):
        assert (await core.wait_for("edge-2")).accepted


async def try_upgrade(
    core: FakeCloudCore, identity: Identity, path: str, headers: tuple[tuple[str, str], ...]
) -> int:
    """The status of the refusal, 0 when it is granted."""
    status = 0
    fields = [(key.encode(), value.encode()) for key, value in headers]
    stream = await trio.open_tcp_stream("127.0.0.1", core.port)
    secured = trio.SSLStream(stream, client_context(identity), server_hostname="127.0.0.1")
    try:
        async with trio.open_nursery() as nursery:
            await wrap_client_stream(nursery, secured, "cloud", path, extra_headers=fields)
    except* ConnectionRejected as refused:
        for each in refused.exceptions:
            assert isinstance(each, ConnectionRejected)
            status = each.status_code
    finally:
        await trio.aclose_forcefully(secured)
    return status


@pytest.mark.parametrize(
    ("path", "headers", "status"), [("//events", (), 301), ("/", (("Origin", "http://x"),), 403)]
)
async def test_some_upgrades_are_refused(
    core: FakeCloudCore,
    edge_identity: Identity,
    path: str,
    headers: tuple[tuple[str, str], ...],
    status: int,
) -> None:
    assert await try_upgrade(core, edge_identity, path, headers) == status


@pytest.mark.parametrize("frame", ["hello", "[]", '"x"'])
async def test_what_is_no_object_ends_the_connection(
    core: FakeCloudCore, edge: FakeEdgeCore, frame: str
) -> None:
    await edge.connection.send_message("{}")
    await edge.connection.send_message('{"unknown":1}')
    await edge.ask_meta(Operation.QUERY, f"kube-node-lease/lease/{NODE}")
    await edge.connection.send_message(frame)
    await edge.ended.wait()


async def test_a_binary_frame_counts_as_text(core: FakeCloudCore, edge: FakeEdgeCore) -> None:
    await edge.connection.send_message(encode_message(session.keepalive(a_stamp())))
    before = len(core.sessions[NODE].heard)
    await core.sessions[NODE].wait_until(lambda: len(core.sessions[NODE].heard) > before)


async def test_metaservers_requests_are_answered(core: FakeCloudCore, edge: FakeEdgeCore) -> None:
    core.store.put("default/service/web", {"spec": {}})
    listed = await edge.apply("/core/v1/services/null/null", application.Verb.LIST)
    assert [each["metadata"]["name"] for each in listed.response()["items"]] == ["web"]
    one = await edge.apply("/core/v1/services/default/web", application.Verb.GET)
    assert one.response()["metadata"]["name"] == "web"
    missing = await edge.apply("/core/v1/services/default/no", application.Verb.GET)
    assert missing.error_status is not None
    unknown = await edge.apply("/x.io/v1/things/null/null", application.Verb.LIST)
    assert unknown.reason.startswith("get current list error: ")


async def test_the_router_calls_applications_at_the_edge(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    edge.applications[6666] = lambda call: router.Reply(201, {"X": ["1"]}, call.body * 2)
    target = router.CallTarget(6666, "/a?b=c:d")
    reply = await core.call(NODE, router.Call("POST", target, {}, b"hi"))
    assert reply == router.Reply(201, {"X": ["1"]}, b"hihi")


async def test_errors_of_edgecore_are_heard_by_nobody(
    core: FakeCloudCore, edge: FakeEdgeCore
) -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.3):
        await core.call(NODE, router.Call("GET", router.CallTarget(1, "/"), {}, b""))
