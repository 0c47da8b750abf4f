"""Streams that the cloud passes on: what holds between two ends holds across it."""

from __future__ import annotations

import errno
import random
from contextlib import suppress

import pytest
from link_fixtures import Pki, Talker, until
from links_world import Node, World, a_world

from edgemesh.model.peers import Way
from edgemesh.model.services import Transport
from edgemesh.reactor.virtual import VirtualSocket

WINDOW = 65536
CLOUD_WINDOW = 1 << 18


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def two_by_hub(world: World) -> tuple[Node, Node, Node]:
    """node-a, node-b, which cannot be dialled, and the cloud between them."""
    a = world.node("node-a", stream_window_bytes=WINDOW)
    b = world.node("node-b", stream_window_bytes=WINDOW)
    cloud = world.with_cloud(a, b, stream_window_bytes=CLOUD_WINDOW)
    await until(lambda: len(cloud.links.peers()) == 2)
    await until(lambda: a.links.peers()[0].route is Way.CLOUD)
    a.links.know({"node-b": []})
    return a, b, cloud


def send(world: World, node: Node, sock: VirtualSocket, *sizes: int) -> None:
    """One datagram of each size."""

    def work() -> None:
        for size in sizes:
            sock.send(bytes(size))

    world.reactor.call(node.links, work)


def read(world: World, node: Node, sock: VirtualSocket) -> list[int]:
    """The sizes of the datagrams that are there."""
    sizes: list[int] = []

    def work() -> None:
        with suppress(BlockingIOError):
            while True:
                sizes.append(len(sock.recv(70_000)))

    world.reactor.call(node.links, work)
    return sizes


async def test_many_streams_at_once_arrive_as_they_were_sent(pki: Pki) -> None:
    chance = random.Random(3)
    async with a_world(pki) as world:
        a, b, cloud = await two_by_hub(world)
        b.answer_size = 100_000
        asking = [a.talk("node-b", chance.choice([0, 1, 5000, 300_000])) for _ in range(200)]
        await until(lambda: all(each.done for each in [*asking, *b.talkers]))
        assert {each.problem for each in [*asking, *b.talkers]} == {0}
        assert sorted(each.said for each in asking) == sorted(each.heard for each in b.talkers)
        assert cloud.links.streams == 0


async def test_an_end_that_does_not_read_is_felt_by_the_other_and_by_nobody_else(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b, cloud = await two_by_hub(world)
        b.talks = False
        stalled = [a.talk("node-b", 1_000_000) for _ in range(20)]
        await until(lambda: len(b.came) == 20)
        await until(lambda: all(each.sent >= WINDOW // 2 for each in stalled))
        b.talks = True
        live = [a.talk("node-b", 1_000_000) for _ in range(5)]
        await until(lambda: all(each.done for each in live))
        # What the far end takes unread, the near end's buffer of the cloud, and no more.
        assert all(each.sent <= 2 * WINDOW + CLOUD_WINDOW for each in stalled)
        held = sum(
            link.mux.incoming.held for peer in cloud.links._everybody() for link in peer.links()
        )
        assert held <= 20 * CLOUD_WINDOW
        for sock, _wanted in b.came[:20]:
            b.talkers.append(Talker(sock, world.reactor, 0, 0))
        await until(lambda: all(each.done for each in stalled))
        assert {each.problem for each in stalled} == {0}


async def test_resets_go_through_both_ways(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b, cloud = await two_by_hub(world)
        b.answer_size = 1_000_000
        asking = [a.talk("node-b", 1_000_000) for _ in range(20)]
        for each in asking[::2]:
            each.reset_after = 200_000
        await until(lambda: len(b.talkers) == 20)
        for each in b.talkers[1::4]:
            each.reset_after = 300_000
        await until(lambda: all(each.done for each in [*asking, *b.talkers]))
        await until(lambda: not cloud.links.streams)
        assert {each.problem for each in asking[::2]} == {-1}


async def test_a_node_that_is_lost_resets_what_was_passed_on_to_it(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b, cloud = await two_by_hub(world)
        b.talks = False
        sock = a.call("node-b")
        assert sock is not None
        await until(lambda: not sock.connecting)
        link = cloud.links._peers["node-b"].link
        assert link is not None
        world.reactor.call(link, lambda: link.end("cut by the test"))
        await until(lambda: sock.reason)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert "the link to node-b: cut by the test" in sock.reason
        sock.close()


async def test_what_the_far_end_refuses_is_refused_with_its_words(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b, _cloud = await two_by_hub(world)
        b.takes = False
        sock = a.call("node-b")
        assert sock is not None
        await until(lambda: sock.reason)
        assert sock.reason == "no such Service here"
        with pytest.raises(PermissionError) as caught:
            sock.recv(1)
        assert caught.value.errno == errno.EACCES
        sock.close()


async def test_datagrams_are_passed_on_one_by_one(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b, cloud = await two_by_hub(world)
        b.talks = False
        sock = a.call("node-b", Transport.UDP)
        assert sock is not None
        await until(lambda: b.came and not sock.connecting)
        sizes = [1, 1200, 0, 9000]
        send(world, a, sock, *sizes)
        far = b.came[0][0]
        got: list[int] = []

        def come() -> list[int]:
            got.extend(read(world, b, far))
            return got

        await until(lambda: len(come()) == len(sizes))
        assert got == sizes
        # Their credit comes back from one link to the next; a datagram that is there before it is
        # dropped.
        onward = cloud.links_to("node-b")[0].mux.streams
        for _ in range(100):
            await until(lambda: all(each.outgoing.left > 31_000 for each in onward.values()))
            send(world, a, sock, 30_000)
            await until(lambda: read(world, b, far) == [30_000])
        sock.close()


async def test_a_node_with_too_many_streams_is_told_apart_from_one_that_is_not_there(
    pki: Pki,
) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b", max_streams=1)
        cloud = world.with_cloud(a, b, stream_window_bytes=CLOUD_WINDOW)
        await until(lambda: len(cloud.links.peers()) == 2)
        await until(lambda: a.links.peers()[0].route is Way.CLOUD)
        a.links.know({"node-b": []})
        b.talks = False
        first = a.call("node-b")
        assert first is not None
        await until(lambda: not first.connecting)
        second = a.call("node-b")
        assert second is not None
        await until(lambda: second.reason)
        assert second.reason == "node-b has too many streams"
        for sock in (first, second):
            sock.close()


async def test_only_the_cloud_passes_streams_on(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        a.links.know({"node-b": [b.address], "node-c": []})
        talking = a.talk("node-b")
        await until(lambda: talking.done)
        link = a.links._peers["node-b"].link
        assert link is not None
        a.links._peers["node-c"]._hub = lambda: link
        sock = a.call("node-c")
        assert sock is not None
        await until(lambda: sock.reason)
        assert sock.reason == "node-b passes nothing on"
        sock.close()
