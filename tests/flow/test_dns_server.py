"""The resolver's clients over real sockets: cluster names, UDP and TCP."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest
import trio
import trio.testing
from dns_peers import PORT, Agent

from edgemesh.model.errors import OperatorError
from edgemesh.model.services import Endpoint, Service, ServicePort, Transport
from edgemesh.proxy.dns.server import serve_dns

WEB = Service("default", "web", cluster_addresses=("10.96.0.10", "fd00:96::10"))
WEB_NAME = "web.default.svc.cluster.local"


def headless(count: int) -> Service:
    endpoints = tuple(Endpoint(f"10.244.{n // 200}.{n % 200 + 1}", 80) for n in range(count))
    port = ServicePort("default", "db", "", Transport.TCP, 80, endpoints=endpoints)
    return Service("default", "db", headless=True, ports=(port,))


async def connect(agent: Agent) -> trio.SocketStream:
    return await trio.open_tcp_stream(agent.address, PORT)


def framed(*names: str) -> bytes:
    wires = [dns.message.make_query(name, "A", id=n).to_wire() for n, name in enumerate(names)]
    return b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires)


async def receive_all(stream: trio.SocketStream) -> list[dns.message.Message]:
    data = b"".join([chunk async for chunk in stream])
    messages = []
    while data:
        size = 2 + int.from_bytes(data[:2], "big")
        messages.append(dns.message.from_wire(data[2:size]))
        data = data[size:]
    return messages


@pytest.mark.parametrize("stream", [False, True])
async def test_a_service_is_found_by_name(nursery: trio.Nursery, stream: bool) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    for _ in range(3):
        response = await agent.ask(WEB_NAME, "AAAA", stream=stream)
        assert response.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA
        assert [str(rrset[0]) for rrset in response.answer] == ["fd00:96::10"]
    assert agent.counters.cluster == 3


async def test_ipv6_clients_are_answered(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    with trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM) as free:
        await free.bind(("::1", 0))
        port = free.getsockname()[1]
    settings = type(agent.settings)(listen=(f"[::1]:{port}",))
    await nursery.start(serve_dns, settings, lambda: agent.snapshot)
    query = dns.message.make_query(WEB_NAME, "A")
    response = await dns.asyncquery.udp(query, "::1", port=port)
    assert str(response.answer[0][0]) == "10.96.0.10"


async def test_the_question_comes_back_in_the_case_it_was_asked_in(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    for name in ("WEB.default.SVC.cluster.local.", "web.DEFAULT.svc.cluster.local."):
        response = await agent.ask(name)
        assert response.question[0].name.to_text() == name
        assert response.answer[0].name.to_text() == name


async def test_a_new_snapshot_is_in_force_at_once(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    assert await agent.addresses(WEB_NAME) == ["10.96.0.10"]
    agent.publish(Service("default", "web", cluster_addresses=("10.96.0.99",)))
    assert await agent.addresses(WEB_NAME) == ["10.96.0.99"]
    agent.publish()
    assert (await agent.ask(WEB_NAME)).rcode() == dns.rcode.NXDOMAIN


async def test_endpoints_of_a_headless_service_take_turns_in_front(nursery: trio.Nursery) -> None:
    agent = Agent(headless(3))
    await nursery.start(agent.serve)
    firsts = [(await agent.addresses("db.default.svc.cluster.local"))[0] for _ in range(6)]
    assert firsts == ["10.244.0.1", "10.244.0.2", "10.244.0.3"] * 2


async def test_many_endpoints_take_a_bounded_number_of_turns(nursery: trio.Nursery) -> None:
    agent = Agent(headless(60))
    await nursery.start(agent.serve)
    firsts = {
        str((await agent.ask("db.default.svc.cluster.local", use_edns=0)).answer[0][0])
        for _ in range(60)
    }
    assert len(firsts) == 8


async def test_an_answer_is_cut_to_512_bytes_for_a_client_without_edns(
    nursery: trio.Nursery,
) -> None:
    agent = Agent(headless(200))
    await nursery.start(agent.serve)
    response = await agent.ask("db.default.svc.cluster.local")
    assert response.flags & dns.flags.TC
    assert 20 < len(response.answer[0]) < 32
    assert len(response.to_wire()) <= 512


@pytest.mark.parametrize(("payload", "limit"), [(100, 512), (900, 900), (65535, 1232)])
async def test_an_answer_is_cut_to_what_the_client_takes_and_we_send(
    nursery: trio.Nursery, payload: int, limit: int
) -> None:
    agent = Agent(headless(200))
    await nursery.start(agent.serve)
    response = await agent.ask("db.default.svc.cluster.local", use_edns=0, payload=payload)
    assert response.flags & dns.flags.TC
    assert limit - 16 < len(response.to_wire()) <= limit
    assert response.payload == 1232


async def test_a_cut_answer_is_whole_over_tcp(nursery: trio.Nursery) -> None:
    agent = Agent(headless(200))
    await nursery.start(agent.serve)
    response = await agent.ask("db.default.svc.cluster.local", stream=True)
    assert not response.flags & dns.flags.TC
    assert len(response.answer[0]) == 200


async def test_search_expansions_are_denied_without_asking_anybody(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    for search in ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"):
        response = await agent.ask(f"www.example.com.{search}")
        assert response.rcode() == dns.rcode.NXDOMAIN
        assert response.flags & dns.flags.AA
    assert agent.counters.asked == 0


async def test_ever_new_names_do_not_spoil_answers(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((agent.address, PORT))
        for number in range(5000):
            name = f"x{number}.default.svc.cluster.local"
            await sock.send(dns.message.make_query(name, "A", id=number).to_wire())
            assert (await sock.recv(4096))[:2] == number.to_bytes(2, "big")
    assert await agent.addresses(WEB_NAME) == ["10.96.0.10"]


async def test_what_is_no_query_is_refused_or_ignored(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    query = dns.message.make_query(WEB_NAME, "A", id=7)
    reply = dns.message.make_response(query)
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((agent.address, PORT))
        for ignored in (b"", b"\0", reply.to_wire()):
            await sock.send(ignored)
        await sock.send(query.to_wire() + b"more")
        assert dns.message.from_wire(await sock.recv(512)).rcode() == dns.rcode.FORMERR
    assert agent.counters.malformed == 4


async def test_one_connection_carries_several_queries_sent_at_once(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    stream = await connect(agent)
    async with stream:
        await stream.send_all(framed(WEB_NAME, "no.default.svc.cluster.local", WEB_NAME))
        await stream.send_eof()
        messages = await receive_all(stream)
    assert [(m.id, m.rcode()) for m in messages] == [(0, 0), (1, dns.rcode.NXDOMAIN), (2, 0)]


async def test_a_query_may_come_byte_by_byte(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    stream = await connect(agent)
    async with stream:
        for byte in framed(WEB_NAME):
            await stream.send_all(bytes((byte,)))
        await stream.send_eof()
        assert len(await receive_all(stream)) == 1


@pytest.mark.parametrize("data", [b"\0", b"\0\x20short", b"\0\1x"])
async def test_a_connection_with_no_whole_query_is_closed(
    nursery: trio.Nursery, data: bytes
) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    stream = await connect(agent)
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        assert await receive_all(stream) == []


async def test_a_client_that_resets_its_connection_harms_nobody(nursery: trio.Nursery) -> None:
    agent = Agent(WEB)
    await nursery.start(agent.serve)
    stream = await connect(agent)
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
    await stream.send_all(framed(WEB_NAME) + b"\0")
    assert await stream.receive_some(4096)
    stream.socket.close()
    assert await agent.ask(WEB_NAME, stream=True)


async def test_a_silent_connection_is_closed_after_the_idle_timeout(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    agent = Agent(WEB, tcp_idle_timeout_seconds=10.0)
    await nursery.start(agent.serve)
    stream = await connect(agent)
    async with stream:
        await stream.send_all(framed(WEB_NAME))
        assert await stream.receive_some(4096)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(11)
        assert await stream.receive_some(4096) == b""


async def test_a_client_that_never_reads_is_cut_off(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    agent = Agent(headless(2000), tcp_idle_timeout_seconds=10.0)
    await nursery.start(agent.serve)
    with trio.socket.socket() as sock:
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await sock.connect((agent.address, PORT))
        await sock.send(framed(*["db.default.svc.cluster.local"] * 250))
        await trio.testing.wait_all_tasks_blocked(0.1)
        answered = agent.counters.cluster
        assert answered < 250
        mock_clock.jump(11)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert agent.counters.cluster == answered
        while await sock.recv(1 << 20):
            pass


async def test_beyond_the_limit_the_oldest_connection_gives_way(nursery: trio.Nursery) -> None:
    agent = Agent(WEB, tcp_max_connections=2)
    await nursery.start(agent.serve)
    streams = [await connect(agent) for _ in range(3)]
    assert await streams[0].receive_some(1) == b""
    for stream in streams[1:]:
        await stream.send_all(framed(WEB_NAME))
        assert await stream.receive_some(4096)
    for stream in streams:
        await stream.aclose()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"listen": ("0.0.0.0:53",)}, r"dns\.listen: 0\.0\.0\.0 port 53"),
        ({"listen": ("[::]:53",)}, r"dns\.listen: :: port 53"),
        ({"listen": ("here",)}, r"dns\.listen: 'here'"),
        ({"listen": ("192.0.2.1:5300",)}, r"dns\.listen: 192\.0\.2\.1 port 5300: Cannot assign"),
        ({"upstreams": ("dns.example",)}, r"dns\.upstreams: 'dns\.example'"),
        ({"domain": "a..b"}, r"dns\.domain: "),
    ],
)
async def test_a_setting_that_cannot_be_used_is_the_operators_mistake(
    changes: dict[str, object], problem: str
) -> None:
    agent = Agent(**changes)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match=problem):
        await serve_dns(agent.settings, lambda: agent.snapshot)


async def test_an_address_that_is_taken_is_the_operators_mistake(nursery: trio.Nursery) -> None:
    agent = Agent()
    await nursery.start(agent.serve)
    with pytest.raises(OperatorError, match="in use"):
        await serve_dns(agent.settings, lambda: agent.snapshot)
