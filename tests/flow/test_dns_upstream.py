"""Names outside the cluster, with real upstream servers on loopback.

Time stands still where a test does not let it pass: what is asked again, or given up, is so
because the test says so, and not because the machine stood still.
"""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
import trio.testing
from dns_peers import PORT, Agent, Upstream, answering, denied, failed, positive, silent

from edgemesh.model.services import Service

NAME = "www.example"
Clock = trio.testing.MockClock


async def start(nursery: trio.Nursery, agent: Agent, *upstreams: Upstream) -> None:
    for upstream in upstreams:
        await nursery.start(upstream.serve)
    await nursery.start(agent.serve)


async def test_a_name_outside_the_cluster_is_asked_upstream(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    upstream = Upstream(answering("192.0.2.1", "192.0.2.2"))
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    response = await agent.ask("WWW.example", use_edns=0)
    assert response.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert response.question[0].name.to_text() == "WWW.example."
    assert sorted(map(str, response.answer[0])) == ["192.0.2.1", "192.0.2.2"]
    ((query, stream),) = upstream.asked
    assert (query.payload, query.flags, stream) == (1232, dns.flags.RD, False)


async def test_a_client_without_edns_gets_no_opt(nursery: trio.Nursery, mock_clock: Clock) -> None:
    upstream = Upstream(answering("192.0.2.1"))
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    assert (await agent.ask(NAME)).edns == -1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_kept_and_its_ttl_runs_down(
    nursery: trio.Nursery, mock_clock: Clock, stream: bool
) -> None:
    upstream = Upstream(answering("192.0.2.1", ttl=60))
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    assert (await agent.ask(NAME, stream=stream)).answer[0].ttl == 60
    mock_clock.jump(25)
    assert (await agent.ask(NAME.upper(), stream=stream)).answer[0].ttl == 35
    assert len(upstream.asked) == 1
    mock_clock.jump(35)
    assert (await agent.ask(NAME, stream=stream)).answer[0].ttl == 60
    assert len(upstream.asked) == 2


async def test_a_denial_is_kept_for_as_long_as_its_soa_says(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    upstream = Upstream(lambda query, _: denied(query))
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    for _ in range(2):
        response = await agent.ask(NAME)
        assert response.rcode() == dns.rcode.NXDOMAIN
        assert response.authority[0].ttl in {900, 20}
    assert len(upstream.asked) == 1
    mock_clock.jump(20)
    await agent.ask(NAME)
    assert len(upstream.asked) == 2


async def test_types_of_one_name_are_kept_apart(nursery: trio.Nursery, mock_clock: Clock) -> None:
    upstream = Upstream(answering("192.0.2.1"))
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    await agent.ask(NAME, "A")
    await agent.ask(NAME, "MX")
    assert len(upstream.asked) == 2


async def test_a_truncated_reply_is_asked_again_over_tcp(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    addresses = [f"192.0.2.{number}" for number in range(100)]

    def behave(query: dns.message.Message, stream: bool) -> dns.message.Message:
        response = positive(query, *addresses)
        if not stream:
            response.answer.clear()
            response.flags |= dns.flags.TC
        return response

    upstream = Upstream(behave)
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    assert len((await agent.ask(NAME, stream=True)).answer[0]) == 100
    assert [stream for _, stream in upstream.asked] == [False, True]
    cut = await agent.ask(NAME)
    assert cut.flags & dns.flags.TC
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("ending", [b"", b"\0\7\x80"])
async def test_tcp_that_ends_before_the_reply_is_a_failure(
    nursery: trio.Nursery, ending: bytes, mock_clock: Clock
) -> None:
    def behave(query: dns.message.Message, stream: bool) -> dns.message.Message | bytes:
        response = positive(query)
        response.flags |= dns.flags.TC
        return ending if stream else response

    upstream = Upstream(behave)
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    assert (await agent.ask(NAME)).rcode() == dns.rcode.SERVFAIL


async def test_a_silent_server_does_not_hold_up_the_answer_of_another(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    dead, live = Upstream(silent), Upstream(answering("192.0.2.1"))
    agent = Agent(upstreams=(dead, live, "127.0.0.1:1"))
    await start(nursery, agent, dead, live)
    assert await agent.addresses(NAME) == ["192.0.2.1"]
    assert len(dead.asked) == 1


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
async def test_the_failure_of_one_server_does_not_win_over_a_later_answer(
    nursery: trio.Nursery, rcode: dns.rcode.Rcode, mock_clock: Clock
) -> None:
    late = Upstream(lambda query, _: positive(query, "192.0.2.1") if len(late.asked) > 1 else None)
    failing = Upstream(lambda query, _: failed(query, rcode))
    agent = Agent(upstreams=(failing, late), upstream_timeout_seconds=2.0)
    await start(nursery, agent, failing, late)

    async def later() -> None:
        await late.until_asked(1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(1)

    nursery.start_soon(later)
    assert await agent.addresses(NAME) == ["192.0.2.1"]


async def test_when_all_servers_fail_so_does_the_answer_at_once(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    failing = Upstream(lambda query, _: failed(query))
    agent = Agent(upstreams=(failing, "127.0.0.1:1"))
    await start(nursery, agent, failing)
    assert (await agent.ask(NAME)).rcode() == dns.rcode.SERVFAIL
    assert (await agent.ask(NAME)).rcode() == dns.rcode.SERVFAIL
    assert len(failing.asked) == 2


async def test_a_lost_datagram_is_sent_again(nursery: trio.Nursery, mock_clock: Clock) -> None:
    upstream = Upstream(
        lambda query, _: positive(query, "192.0.2.1") if len(upstream.asked) == 2 else None
    )
    agent = Agent(upstreams=(upstream,), upstream_timeout_seconds=2.0)
    await start(nursery, agent, upstream)

    async def pass_time() -> None:
        await upstream.until_asked(1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(1)

    nursery.start_soon(pass_time)
    assert await agent.addresses(NAME) == ["192.0.2.1"]


async def test_a_server_without_edns_is_asked_again_without(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    def behave(query: dns.message.Message, stream: bool) -> dns.message.Message:
        if query.edns == -1:
            return positive(query, "192.0.2.1")
        response = failed(query, dns.rcode.FORMERR)
        response.use_edns(False)
        return response

    upstream = Upstream(behave)
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    assert await agent.addresses(NAME) == ["192.0.2.1"]


async def test_replies_to_other_questions_are_passed_over(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    forged: list[bytes] = []

    def behave(query: dns.message.Message, stream: bool) -> dns.message.Message | None:
        response = positive(query, "203.0.113.66")
        response.id ^= 1
        forged.append(response.to_wire())
        response.id ^= 1
        response.question = [dns.rrset.RRset(dns.name.from_text("other."), 1, 1)]
        forged.append(response.to_wire())
        forged.extend([b"", b"noise"])
        return positive(query, "192.0.2.1")

    class Forging(Upstream):
        """Sends the forged replies from its own address in front of the true one."""

        async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
                await sock.bind((self.address, PORT))
                task_status.started()
                wire, client = await sock.recvfrom(65535)
                reply = self._reply(wire, stream=False)
                assert reply is not None
                for message in (*forged, reply):
                    await sock.sendto(message, client)

    upstream = Forging(behave)
    agent = Agent(upstreams=(upstream,))
    await start(nursery, agent, upstream)
    assert await agent.addresses(NAME) == ["192.0.2.1"]


async def test_equal_questions_under_way_are_asked_once(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    gate: list[bool] = []
    upstream = Upstream(lambda query, _: positive(query, "192.0.2.1") if gate else None)
    agent = Agent(upstreams=(upstream,), upstream_timeout_seconds=2.0)
    await start(nursery, agent, upstream)
    answers: list[list[str]] = []

    async def client() -> None:
        answers.append(await agent.addresses(NAME))

    async with trio.open_nursery() as clients:
        for _ in range(20):
            clients.start_soon(client)
        await upstream.until_asked(1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        gate.append(True)
        mock_clock.jump(1)
    assert answers == [["192.0.2.1"]] * 20
    # Once, and once more a second later; both under one identifier.
    assert len(upstream.asked) == 2
    assert len({query.id for query, _ in upstream.asked}) == 1


async def test_too_many_waiting_clients_fail_at_once(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    upstream = Upstream(silent)
    agent = Agent(Service("default", "web"), upstreams=(upstream,), max_pending=3)
    await start(nursery, agent, upstream)
    with trio.CancelScope() as waiting:
        async with trio.open_nursery() as clients:
            for name in ("a.example", "b.example", "b.example"):
                clients.start_soon(agent.ask, name)
            await upstream.until_asked(2)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (await agent.ask("c.example")).rcode() == dns.rcode.SERVFAIL
            assert (await agent.ask("web.default.svc.cluster.local")).rcode() == 0
            waiting.cancel()
    assert agent.counters.refused == 1


async def test_questions_to_ourselves_are_not_asked(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    agent = Agent()
    agent = Agent(listen=(f"{agent.address}:{PORT}",), upstreams=(f"{agent.address}:{PORT}",))
    agent.address = agent.settings.listen[0].partition(":")[0]
    await start(nursery, agent)
    assert (await agent.ask(NAME)).rcode() == dns.rcode.SERVFAIL
    assert agent.counters.asked == 0


EXTERNAL = Service("default", "db", type="ExternalName", external_name=NAME)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_external_name_brings_its_targets_addresses(
    nursery: trio.Nursery, stream: bool, mock_clock: Clock
) -> None:
    upstream = Upstream(answering("192.0.2.1"))
    agent = Agent(EXTERNAL, upstreams=(upstream,))
    await start(nursery, agent, upstream)
    for _ in range(2):
        response = await agent.ask("db.default.svc.cluster.local", stream=stream)
        texts = [str(rrset[0]) for rrset in response.answer]
        assert texts == [f"{NAME}.", "192.0.2.1"]
        assert response.flags & dns.flags.AA
    assert len(upstream.asked) == 1


async def test_an_external_name_to_nothing_is_denied_behind_the_alias(
    nursery: trio.Nursery, mock_clock: Clock
) -> None:
    upstream = Upstream(lambda query, _: denied(query))
    agent = Agent(EXTERNAL, upstreams=(upstream,))
    await start(nursery, agent, upstream)
    response = await agent.ask("db.default.svc.cluster.local")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert len(response.answer) == len(response.authority) == 1
