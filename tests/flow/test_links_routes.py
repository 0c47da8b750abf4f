"""Links between nodes and by the cloud: who is reached how, and what follows when a way ends."""

from __future__ import annotations

import errno
import socket

import pytest
from link_fixtures import Pki, until
from links_world import Node, a_world, exchanged

from edgemesh.bus.link.tls import LinkTls
from edgemesh.model.peers import Way
from edgemesh.model.streams import CLOUD


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def test_the_first_call_waits_for_the_link_that_it_begins(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        assert a.links.route("node-b") == "link"
        await exchanged(a.talk("node-b"), b)
        assert a.way("node-b") is Way.LINK
        wanted = b.came[0][1]
        assert wanted.from_node == "node-a"
        assert wanted.port == ("default", "web", "TCP", 80)
        assert wanted.client == ("10.244.1.5", 4000)


async def test_the_end_that_was_dialled_uses_the_same_link(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        await exchanged(a.talk("node-b"), b)
        assert b.links.route("node-a") == "link"
        await exchanged(b.talk("node-a"), a)


async def test_nodes_that_are_not_of_the_mesh_are_dialled_at_their_own_addresses(pki: Pki) -> None:
    async with a_world(pki) as world:
        a = world.node("node-a")
        assert a.links.route("node-x") == ""
        assert a.links.route(CLOUD) == ""
        assert a.call("node-x") is None


async def test_a_cloud_that_takes_no_links_is_not_dialled_and_is_no_way(pki: Pki) -> None:
    async with a_world(pki) as world:
        a = world.node("node-a")
        a.links.know_cloud("127.0.0.1", [])
        assert a.links.route(CLOUD) == ""
        a.links.know({"node-b": []})
        assert a.call("node-b") is None
        assert a.problem("node-b") == "it has told no address for links"


async def test_a_node_that_has_no_address_is_reached_by_the_hub(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        cloud = world.with_cloud(a, b)
        await until(lambda: len(cloud.links.peers()) == 2)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        a.links.know({"node-b": []})
        b.answer_size = 3_000_000
        await exchanged(a.talk("node-b", 3_000_000), b)
        assert a.way("node-b") is Way.HUB
        assert b.came[0][1].from_node == "node-a"


async def test_calls_go_by_the_hub_when_the_link_ends_and_by_a_link_when_it_is_back(
    pki: Pki,
) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a", probe_seconds=0.5), world.node("node-b")
        cloud = world.with_cloud(a, b)
        await until(lambda: len(cloud.links.peers()) == 2)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        a.links.know({"node-b": [b.address]})
        await exchanged(a.talk("node-b"), b)
        # A call does not wait for the link for long.
        await until(lambda: a.way("node-b") is Way.LINK)
        link = a.links._peers["node-b"].link
        assert link is not None
        b.deaf()
        world.reactor.call(link, lambda: link.end("cut by the test"))
        await exchanged(a.talk("node-b"), b)
        assert a.way("node-b") is Way.HUB
        assert a.problem("node-b")
        b.listen()
        await until(lambda: a.way("node-b") is Way.LINK)
        await exchanged(a.talk("node-b"), b)


async def test_streams_of_a_link_that_ends_are_reset_and_say_why(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        b.talks = False
        sock = a.call("node-b")
        assert sock is not None
        await until(lambda: b.came)
        await until(lambda: not sock.connecting)
        link = a.links._peers["node-b"].link
        assert link is not None
        world.reactor.call(link, lambda: link.end("cut by the test"))
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert "cut by the test" in sock.reason
        sock.close()


async def test_a_call_that_no_way_leads_to_is_refused_with_the_reason(pki: Pki) -> None:
    async with a_world(pki) as world:
        a = world.node("node-a")
        # Nobody else gets a port that is bound, and nobody listens.
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            a.links.know({"node-b": [unheard.getsockname()]})
            sock = a.call("node-b")
            assert sock is not None
            await until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        assert "connection refused" in sock.reason
        sock.close()


async def test_what_the_other_end_does_not_take_is_refused_with_its_errno_and_reason(
    pki: Pki,
) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        b.takes = False
        sock = a.call("node-b")
        assert sock is not None
        await until(lambda: not sock.connecting)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EACCES
        assert sock.reason == "no such Service here"
        sock.close()


async def told_that_it_is_not_connected(caller: Node) -> None:
    """The caller asks for a node that no cloud has."""
    caller.links.know({"node-x": []})
    sock = caller.call("node-x")
    assert sock is not None
    await until(lambda: sock.reason)
    assert sock.reason == "node-x is not connected here"
    sock.close()


async def test_the_cloud_names_a_node_that_is_not_connected(pki: Pki) -> None:
    async with a_world(pki) as world:
        a = world.node("node-a")
        world.with_cloud(a)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        await told_that_it_is_not_connected(a)


async def test_another_replica_of_the_cloud_passes_streams_on(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        first, second = world.with_cloud(a), world.with_cloud(b)
        third = world.node(CLOUD)
        world.replicas = [first, third, second]
        await until(lambda: first.links.peers() and second.links.peers())
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        a.links.know({"node-b": []})
        await exchanged(a.talk("node-b", 500_000), b)
        await exchanged(a.talk("node-b", 500_000), b)


async def test_the_cloud_calls_nodes_of_other_replicas_too(pki: Pki) -> None:
    async with a_world(pki) as world:
        b = world.node("node-b")
        first, second = world.node(CLOUD), world.with_cloud(b)
        world.replicas = [first, second]
        await until(second.links.peers)
        await exchanged(first.talk("node-b", 200_000), b)


async def test_replicas_do_not_send_a_stream_round_and_round(pki: Pki) -> None:
    async with a_world(pki) as world:
        a = world.node("node-a")
        first, second = world.with_cloud(a), world.node(CLOUD)
        world.replicas = [first, second]
        await until(first.links.peers)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        await told_that_it_is_not_connected(a)


async def test_a_node_that_calls_itself_another_is_refused(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a", probe_seconds=0.5), world.node("node-b")
        a.links.know({"node-c": [b.address]})
        sock = a.call("node-c")
        assert sock is not None
        await until(lambda: sock.reason)
        assert "CN=system:node:node-b" in sock.reason
        assert "node-c" in sock.reason
        sock.close()


async def test_a_link_of_a_revoked_certificate_ends_and_none_comes_again(pki: Pki) -> None:
    async with a_world(pki) as world:
        a = world.node("node-a", probe_seconds=0.2)
        cloud = world.with_cloud(a)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        peer = cloud.links._peers["node-a"].link
        assert peer is not None
        cloud.revoked.add(peer.secured.certificate())
        cloud.links.check_again()
        await until(lambda: not cloud.links.peers())
        await until(lambda: cloud.links.refused)
        assert cloud.links.peers() == []


async def test_a_renewed_certificate_is_shown_by_new_links_and_old_ones_go_on(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        b.talks = False
        sock = a.call("node-b")
        assert sock is not None
        await until(lambda: not sock.connecting)
        old = b.links._peers["node-a"].link
        assert old is not None
        a.links.renew(LinkTls(pki.identity("node-a")))
        assert not old.problem
        shown = old.secured.certificate()
        link = a.links._peers["node-b"].link
        assert link is not None
        world.reactor.call(link, lambda: link.end("cut by the test"))
        b.talks = True
        await until(lambda: old.problem)
        await exchanged(a.talk("node-b"), b)
        new = b.links._peers["node-a"].link
        assert new is not None
        assert new.secured.certificate() != shown
        sock.close()


async def test_a_node_that_leaves_ends_its_streams_in_peace(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        b.answer_size = 2_000_000
        talking = a.talk("node-b", 2_000_000)
        await until(lambda: b.talkers and b.talkers[0].received)
        link = b.links._peers["node-a"].link
        assert link is not None
        world.reactor.call(link, lambda: link.drain("node-b leaves"))
        await exchanged(talking, b)
        await until(lambda: not b.links_to("node-a"))


async def test_an_end_that_stops_is_no_failure_to_the_other(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        await exchanged(a.talk("node-b"), b)
        link = a.links._peers["node-b"].link
        assert link is not None
        b.deaf()
        b.links.close()
        await until(lambda: not a.links_to("node-b"))
        assert link.problem == ""
        assert a.problem("node-b") == ""


async def test_both_ends_dial_at_once_and_agree_on_one_link(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address]})
        b.links.know({"node-a": [a.address]})
        calls = [a.talk("node-b"), b.talk("node-a")]
        await until(lambda: all(each.done for each in calls))
        assert [each.problem for each in calls] == [0, 0]

        def agreed() -> bool:
            ends = (a.links_to("node-b"), b.links_to("node-a"))
            return [[link.dialler for link in links] for links in ends] == [[True], [False]]

        await until(agreed)


async def test_an_address_that_does_not_answer_does_not_keep_the_next_one_waiting(
    pki: Pki,
) -> None:
    async with a_world(pki) as world:
        a, b, silent = world.node("node-a"), world.node("node-b"), world.node("node-c")
        silent.deaf()
        a.links.know({"node-b": [silent.address, b.address]})
        await exchanged(a.talk("node-b"), b)


async def test_a_call_does_not_wait_for_a_link_for_long_where_there_is_a_hub(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b, silent = world.node("node-a"), world.node("node-b"), world.node("node-c")
        cloud = world.with_cloud(a, b)
        silent.deaf()
        await until(lambda: len(cloud.links.peers()) == 2)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        a.links.know({"node-b": [silent.address]})
        await exchanged(a.talk("node-b"), b)
        assert a.way("node-b") is Way.HUB
        assert "no link within" in a.problem("node-b")
