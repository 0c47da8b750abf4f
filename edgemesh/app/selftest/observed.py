"""Tries the gate that counts requests: it knows them, their answers, and which are too many."""

from __future__ import annotations

from functools import partial

import trio

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.passing import Passing, Stages, in_time, passing_flow, stages
from edgemesh.app.selftest.problem import expect
from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.observed_maps import ObservedMaps
from edgemesh.model.meters import by_class
from edgemesh.model.policies import Observe, Path, Policy, Quota
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.forward.observer import Observer

# Two requests, and no more for as long as this lasts.
_PORT = ServicePort(
    "",
    "selftest",
    "",
    Transport.TCP,
    80,
    policy=Policy(path=Path.SPLICE, observe=Observe.HTTP, client_quota=Quota(rate=0.001, burst=2)),
)
_ENDPOINT = Endpoint("127.0.0.1", 80)
_REQUEST = b"GET / HTTP/1.1\r\nHost: selftest\r\n\r\n"
_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
)
_CHUNK = 65536


def attempt(order: SelfTestOrder) -> None:
    """Let requests pass the gate, and one too many.

    Raises:
        NotWorkingError: something does not do what it should.
        OSError: something does not work at all.
    """
    loaded = order.loaded
    with Gate(loaded.map, order.bpf.backlog_bytes) as gate, ObservedMaps(loaded.map) as maps:
        trio.run(_try, order, gate, maps)


async def _try(order: SelfTestOrder, gate: Gate, maps: ObservedMaps) -> None:
    async with stages(order, gate) as through, passing_flow(through) as passing:
        observer = Observer(through.context, through.sockmap, maps)
        passing.flow.verdict = Verdict(_PORT)
        passing.flow.endpoint = _ENDPOINT
        passing.call(partial(observer.begin, passing.flow))
        with in_time(through):
            for answer in _ANSWERS:
                await _exchange(passing, answer)
            expect(passing.redirected() > 0, "the kernel moves no requests")
            _expect_counts(through, observer)
            await _ask_too_much(passing)


async def _exchange(passing: Passing, answer: bytes) -> None:
    await passing.client.send_all(_REQUEST)
    heard = await passing.endpoint.receive_some(_CHUNK)
    expect(heard == _REQUEST, "a request arrives otherwise than it was sent")
    await passing.endpoint.send_all(answer)
    heard = await passing.client.receive_some(_CHUNK)
    expect(heard == answer, "a response arrives otherwise than it was sent")


def _expect_counts(through: Stages, observer: Observer) -> None:
    for _ in observer.read():
        pass
    meter = through.context.metrics.meters.meter(_PORT, _ENDPOINT, Path.SPLICE)
    expect(
        by_class(meter.responses) == {"2xx": 1, "5xx": 1},
        "requests are not counted by the class of their status",
    )
    expect(sum(meter.latencies) == len(_ANSWERS), "it is not counted how long requests take")


async def _ask_too_much(passing: Passing) -> None:
    await passing.client.send_all(_REQUEST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_silence, passing.endpoint)
        heard = await passing.client.receive_some(_CHUNK)
        nursery.cancel_scope.cancel()
    expect(heard.startswith(b"HTTP/1.1 429 "), "a request over the quota is not answered")


async def _expect_silence(endpoint: trio.SocketStream) -> None:
    heard = await endpoint.receive_some(1)
    expect(not heard, "a request over the quota is passed on")
