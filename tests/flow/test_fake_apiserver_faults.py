"""What the fake API server does wrong when it is told to, and what it holds against clients."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import msgspec
import pytest
import trio
from apiserver.answers import Request
from apiserver.client import Heading, ask, asking
from apiserver.faults import Fault, Faults
from apiserver.front import Front
from apiserver.metaserver import MetaServer
from apiserver.server import ApiServer
from trio.testing import memory_stream_pair

SERVICES = "/api/v1/services"
WATCH = f"{SERVICES}?watch=true&timeoutSeconds=600"


def faulty(*kinds: Fault) -> ApiServer:
    """A server with a hundred Services on which each request meets a fault."""
    server = ApiServer(faults=Faults(seed=1, chance=1.0, kinds=kinds))
    for number in range(100):
        server.put(SERVICES, {"metadata": {"name": f"s{number}"}})
    return server


async def pieces_of(head: Heading) -> list[bytes]:
    return [piece async for piece in head.pieces()]


async def test_a_cut_ends_the_connection_within_a_line(autojump_clock: trio.abc.Clock) -> None:
    async with asking(faulty(Fault.CUT), "GET", WATCH) as head:
        told = b"".join(await pieces_of(head))
    assert not head.complete
    assert told
    assert not told.endswith(b"\n")


async def test_a_closed_watch_ends_in_order_before_its_time(
    autojump_clock: trio.abc.Clock,
) -> None:
    began = trio.current_time()
    async with asking(faulty(Fault.CLOSE), "GET", WATCH) as head:
        await pieces_of(head)
    assert head.complete
    assert trio.current_time() - began <= 20


async def test_a_dripping_answer_is_whole_in_the_end(autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()
    heard = await ask(faulty(Fault.DRIP), "GET", SERVICES)
    assert len(heard.json["items"]) == 100
    assert trio.current_time() - began >= 0.9


async def test_a_half_open_answer_stays_open_beyond_its_time(
    autojump_clock: trio.abc.Clock,
) -> None:
    with trio.move_on_after(1000) as waiting:
        async with asking(faulty(Fault.HALF_OPEN), "GET", WATCH) as head:
            await pieces_of(head)
    assert waiting.cancelled_caught


async def test_who_leaves_a_half_open_answer_leaves_no_connection(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = faulty(Fault.HALF_OPEN)
    with trio.move_on_after(1):
        async with asking(server, "GET", WATCH) as head:
            await pieces_of(head)
    assert (server.connections, dict(server.watches)) == (0, {})


async def test_a_busy_server_says_how_long_to_wait(autojump_clock: trio.abc.Clock) -> None:
    heard = await ask(faulty(Fault.BUSY), "GET", SERVICES)
    assert (heard.status, heard.headers["Retry-After"]) == (429, "1")


async def test_a_broken_server_answers_500(autojump_clock: trio.abc.Clock) -> None:
    heard = await ask(faulty(Fault.BROKEN), "GET", SERVICES)
    assert (heard.status, heard.json["reason"]) == (500, "InternalError")


async def test_a_revision_can_have_become_too_old_in_any_watch(
    autojump_clock: trio.abc.Clock,
) -> None:
    target = f"{WATCH}&resourceVersion=100"
    async with asking(faulty(Fault.EXPIRED), "GET", target) as head:
        (line,) = [line async for line in head.lines()]
    told = msgspec.json.decode(line)
    assert (told["type"], told["object"]["code"]) == ("ERROR", 410)


async def test_a_continue_token_can_have_become_too_old(autojump_clock: trio.abc.Clock) -> None:
    server = faulty(Fault.EXPIRED)
    first = await ask(server, "GET", f"{SERVICES}?limit=40")
    token = first.json["metadata"]["continue"]
    second = await ask(server, "GET", f"{SERVICES}?limit=40&continue={token}")
    assert second.status == 410
    assert second.json["metadata"]["continue"]


def test_the_same_seed_draws_the_same_lots() -> None:
    request = Request("GET", WATCH, {})
    sources = [Faults(seed) for seed in (7, 7, 8)]
    drawn = [[faults.draw(request) for _ in range(50)] for faults in sources]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_a_long_list_is_compressed_for_who_asks_for_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = ApiServer()
    for number in range(500):
        server.put(SERVICES, {"metadata": {"name": f"s{number}"}})
    heard = await ask(server, "GET", SERVICES, headers={"Accept-Encoding": "gzip"})
    assert heard.headers["Content-Encoding"] == "gzip"
    assert len(msgspec.json.decode(gzip.decompress(heard.body))["items"]) == 500


@pytest.mark.parametrize(
    ("targets", "violation"),
    [
        ([f"{SERVICES}?watch=true&limit=5&timeoutSeconds=1"], "a watch with a limit"),
        ([f"{SERVICES}?colour=blue"], "there is no parameter colour"),
        ([f"{SERVICES}?continue=abc&resourceVersion=5"], "continue with a resourceVersion"),
        ([SERVICES] * 21, "asks 20 times in a second"),
        ([f"{SERVICES}?resourceVersion=999"] * 2, "asks again before Retry-After"),
    ],
)
async def test_bad_manners_are_noted(
    targets: Sequence[str], violation: str, autojump_clock: trio.abc.Clock
) -> None:
    server = ApiServer()
    for target in targets:
        await ask(server, "GET", target)
    assert [words.partition(":")[0] for words in server.violations] == [violation]


@pytest.mark.parametrize(
    ("target", "violation"),
    [
        (f"{SERVICES}?resourceVersion=999", "blocks CloudCore for 43 s (26)"),
        (f"{SERVICES}?watch=true", "may be deaf without end (28)"),
        (
            "/apis/networking.istio.io/v1/gateways?watch=true&timeoutSeconds=1",
            "makes CloudCore exit (25)",
        ),
    ],
)
async def test_what_harms_cloudcore_is_noted(
    target: str, violation: str, autojump_clock: trio.abc.Clock
) -> None:
    server = MetaServer()
    with trio.move_on_after(100):
        await ask(server, "GET", target)
    assert [words.partition(":")[0] for words in server.violations] == [violation]


async def test_what_is_not_http_is_noted(autojump_clock: trio.abc.Clock) -> None:
    server = ApiServer()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, theirs)
        await ours.send_all(b"no request at all\r\n\r\n")
        assert await ours.receive_some() == b""
    assert server.violations[0].startswith("not HTTP")


async def heard_by(server: Front, target: str, then: Sequence[str]) -> list[str]:
    """The names that a watch tells while Services of these names are put."""
    async with asking(server, "GET", target) as head:
        for name in then:
            server.put(SERVICES, {"metadata": {"name": name}})
        lines = [msgspec.json.decode(line) async for line in head.lines()]
    return [line["object"]["metadata"]["name"] for line in lines]


async def test_a_live_watch_goes_on_when_the_past_is_forgotten(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = ApiServer()
    target = f"{SERVICES}?watch=true&timeoutSeconds=5"
    server.put(SERVICES, {"metadata": {"name": "before"}})
    server.compact()
    assert await heard_by(server, target, ["after"]) == ["before", "after"]


async def test_metaserver_first_watch_brings_services_but_no_slices(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    slices = "/apis/discovery.k8s.io/v1/endpointslices"
    server.put(SERVICES, {"metadata": {"name": "web"}})
    server.put(slices, {"metadata": {"name": "web-1"}})
    assert await heard_by(server, f"{SERVICES}?watch=true&timeoutSeconds=5", []) == ["web"]
    assert await heard_by(server, f"{slices}?watch=true&timeoutSeconds=5", []) == []


async def test_metaserver_tells_no_watch_what_happened_between_watches(
    autojump_clock: trio.abc.Clock,
) -> None:
    server = MetaServer()
    target = f"{SERVICES}?watch=true&timeoutSeconds=5"
    assert await heard_by(server, target, ["a"]) == ["a"]
    server.put(SERVICES, {"metadata": {"name": "unseen"}})
    server.delete(SERVICES, "default", "a")
    assert await heard_by(server, target, ["b"]) == ["a", "b"]


async def test_a_bookmark_is_no_newer_than_what_was_told_before_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    # What is told takes a second each time, and more happens meanwhile.
    slow = Faults(seed=1, chance=1.0, kinds=(Fault.DRIP,))
    server = ApiServer(bookmark_every=1.0, faults=slow)
    target = f"{SERVICES}?watch=true&timeoutSeconds=300&allowWatchBookmarks=true"
    told: list[int] = []
    bookmarks = 0
    async with asking(server, "GET", target) as head, trio.open_nursery() as nursery:

        async def change() -> None:
            for number in range(500):
                server.put(SERVICES, {"metadata": {"name": f"s{number}"}})
                await trio.sleep(0.1)

        nursery.start_soon(change)
        async for line in head.lines():
            event = msgspec.json.decode(line)
            revision = int(event["object"]["metadata"]["resourceVersion"])
            if event["type"] == "BOOKMARK":
                assert revision == max(told)
                bookmarks += 1
            else:
                told.append(revision)
    assert len(told) == 500
    assert bookmarks > 20
