"""The resolver of a node without its uplink."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.rcode
import trio
import trio.testing
from dns_peers import Agent, Reply, Upstream, positive

from edgemesh.model.services import Service
from edgemesh.model.settings import DnsSettings
from edgemesh.proxy.dns.servers import UpstreamServers

WEB = Service("default", "web", cluster_addresses=("10.96.0.10",))
NAME = "www.example"
Clock = trio.testing.MockClock


class Uplink:
    """An upstream server that can be cut off, with an agent that asks it."""

    def __init__(self, clock: Clock) -> None:
        self.up = True
        self.clock = clock
        self.upstream = Upstream(
            lambda query, _: positive(query, "192.0.2.1", ttl=60) if self.up else None
        )
        self.agent = Agent(
            WEB, upstreams=(self.upstream,), upstream_timeout_seconds=2.0, stale_max_seconds=600
        )

    @classmethod
    async def start(cls, clock: Clock, nursery: trio.Nursery) -> Uplink:
        made = cls(clock)
        await nursery.start(made.upstream.serve)
        await nursery.start(made.agent.serve)
        return made

    async def ask_through_timeout(self, name: str) -> dns.message.Message:
        """Ask what nobody will answer; let the time pass as soon as everybody waits."""
        answers: list[dns.message.Message] = []

        async def ask() -> None:
            answers.append(await self.agent.ask(name))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await self.let_time_out()
        return answers[0]

    async def let_time_out(self) -> None:
        """The question that is under way is sent twice, and then given up."""
        for _ in range(2):
            await trio.testing.wait_all_tasks_blocked(0.05)
            self.clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.05)


async def test_silence_is_a_failure_after_the_timeout(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    uplink.up = False
    assert (await uplink.ask_through_timeout(NAME)).rcode() == dns.rcode.SERVFAIL


async def test_an_expired_answer_serves_when_nobody_replies(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    await uplink.agent.ask(NAME)
    uplink.up = False
    uplink.clock.jump(100)
    answer = (await uplink.ask_through_timeout(NAME)).answer[0]
    assert (str(answer[0]), answer.ttl) == ("192.0.2.1", 30)
    assert uplink.agent.counters.stale == 1


async def test_after_silence_nobody_waits_any_more(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    await uplink.agent.ask(NAME)
    uplink.up = False
    uplink.clock.jump(100)
    await uplink.ask_through_timeout("other.example")
    # Time stands still now: whatever waits, waits for ever.
    assert (await uplink.agent.ask(NAME)).answer[0].ttl == 30
    assert (await uplink.agent.ask("new.example")).rcode() == dns.rcode.SERVFAIL
    assert await uplink.agent.addresses("web.default.svc.cluster.local") == ["10.96.0.10"]


async def test_one_question_at_a_time_tries_whether_somebody_replies_again(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    uplink.up = False
    await uplink.ask_through_timeout(NAME)
    nursery.start_soon(uplink.ask_through_timeout, "trying.example")
    asked = len(uplink.upstream.asked)
    await uplink.upstream.until_asked(asked + 1)
    for number in range(10):
        response = await uplink.agent.ask(f"x{number}.example")
        assert response.rcode() == dns.rcode.SERVFAIL
    assert uplink.agent.counters.asked == 2


async def test_a_reply_ends_the_silence(mock_clock: Clock, nursery: trio.Nursery) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    uplink.up = False
    await uplink.ask_through_timeout(NAME)
    uplink.up = True
    assert await uplink.agent.addresses("trying.example") == ["192.0.2.1"]
    async with trio.open_nursery() as clients:
        clients.start_soon(uplink.agent.addresses, NAME)
        clients.start_soon(uplink.agent.addresses, "other.example")
    assert uplink.agent.counters.failed == 1


async def test_an_expired_answer_serves_for_a_bounded_time(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    await uplink.agent.ask(NAME)
    uplink.up = False
    uplink.clock.jump(60 + 600)
    assert (await uplink.ask_through_timeout(NAME)).rcode() == dns.rcode.SERVFAIL


async def test_one_lost_question_among_answered_ones_is_no_silence(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    uplink = await Uplink.start(mock_clock, nursery)
    answered = []

    def lose_one(query: dns.message.Message, stream: bool) -> Reply:
        if "lost" in query.question[0].name.to_text():
            return None
        answered.append(query)
        return positive(query, "192.0.2.1")

    uplink.upstream.behave = lose_one
    async with trio.open_nursery() as clients:
        clients.start_soon(uplink.agent.ask, "lost.example")
        await uplink.upstream.until_asked(1)
        uplink.clock.jump(0.5)
        await uplink.agent.ask("other.example")
        await uplink.let_time_out()
    assert await uplink.agent.addresses("third.example") == ["192.0.2.1"]


async def test_without_any_server_the_answer_is_a_failure_at_once(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    assert (await agent.ask(NAME)).rcode() == dns.rcode.SERVFAIL
    assert await agent.addresses("web.default.svc.cluster.local") == ["10.96.0.10"]
    assert agent.counters.failed == 1


async def test_where_nobody_listens_the_answer_is_a_failure_at_once(
    mock_clock: Clock, nursery: trio.Nursery
) -> None:
    agent = Agent(WEB, upstreams=("127.0.0.1:1", "[::1]:1"))
    await nursery.start(agent.serve)
    assert (await agent.ask(NAME)).rcode() == dns.rcode.SERVFAIL


async def test_servers_are_those_of_resolv_conf_as_it_changes(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "resolv.conf"
    settings = DnsSettings(
        listen=("127.0.0.9:53",), resolv_conf=path, resolv_conf_check_seconds=0.01
    )
    servers = UpstreamServers(settings)
    await nursery.start(servers.follow)
    assert servers.current == ()
    for text, expected in [
        ("nameserver 192.0.2.53\nnameserver 127.0.0.9\n", (("192.0.2.53", 53),)),
        ("nameserver ::1\nnameserver ::1\n", (("::1", 53),)),
        ("", ()),
    ]:
        await trio.Path(path).write_text(text)
        for _ in range(1000):
            await trio.sleep(settings.resolv_conf_check_seconds)
            if servers.current == expected:
                break
        assert servers.current == expected


async def test_configured_servers_stand_whatever_resolv_conf_says(
    nursery: trio.Nursery,
) -> None:
    settings = DnsSettings(listen=("127.0.0.9:53",), upstreams=("192.0.2.1", "127.0.0.9:53"))
    servers = UpstreamServers(settings)
    await nursery.start(servers.follow)
    assert servers.current == (("192.0.2.1", 53),)
