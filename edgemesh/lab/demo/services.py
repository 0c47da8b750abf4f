"""The scenario ``services``: a Service called by its name, in every way that there is so far."""

from __future__ import annotations

import shlex
from collections import Counter

from edgemesh.lab.demo.calls import DATAGRAM_SIZES, HALF_CLOSED_BYTES
from edgemesh.lab.demo.script import Outcome, Step
from edgemesh.lab.demo.stage import Stage, require
from edgemesh.model.flows import FlowReport

_CALLS = 30


async def http_by_name(stage: Stage) -> Outcome:
    """A pod asks for http://web and hears one of its replicas."""
    return await _curl(stage, "client", "web", "http://web")


async def spread_evenly(stage: Stage) -> Outcome:
    """Many connections, to each endpoint as many as to the others."""
    caller = stage.caller("client")
    argv = ["curl", "-sS", "-H", "Connection: close", f"http://web/[1-{_CALLS}]"]
    answers = Counter((await stage.run(caller, argv)).split())
    pods = stage.pods_of("web")
    require(answers.keys() == pods.keys(), f"answered by {_counted(answers)}")
    require(max(answers.values()) - min(answers.values()) <= 1, f"uneven: {_counted(answers)}")
    places = ", ".join(f"{pod.addresses[0]} on {pod.node}" for _, pod in sorted(pods.items()))
    return Outcome(shlex.join(argv), caller.description, _counted(answers), places)


async def from_the_node(stage: Stage) -> Outcome:
    """A program on the node itself, in no pod, asks too."""
    return await _curl(stage, "edge-2", "web", "http://web.default.svc.cluster.local")


async def over_ipv6(stage: Stage) -> Outcome:
    """The same by IPv6, from the caller to the endpoint."""
    outcome = await _curl(stage, "client", "dual-stack", "http://dual-stack", "-6")
    require(outcome.over.startswith("["), f"not over IPv6 but {outcome.over}")
    return outcome


async def server_speaks_first(stage: Stage) -> Outcome:
    """TCP, where nobody would ever tell the protocol from the client's first bytes."""
    caller = stage.caller("client")
    answer = await stage.call(caller, "lines", "tcp-echo", 2701)
    flow = await stage.flow(caller, "default/tcp-echo:2701", answer["port"])
    greeting, echo = answer["greeting"], answer["echo"]
    require(echo == "hello from a pod", f"the echo is {echo!r}")
    pod = flow.endpoint_pod.rpartition("/")[2]
    require(greeting[1] == f"Running on Pod {pod}.", f"{greeting[1]!r} but endpoint {pod}")
    text = f"{' '.join(greeting[:2])} ... {echo}"
    return Outcome("connect to tcp-echo:2701, say a line", caller.description, text, _over(flow))


async def datagrams(stage: Stage) -> Outcome:
    """UDP, up to nearly the largest datagram there is."""
    caller = stage.caller("client")
    answer = await stage.call(caller, "datagrams", "udp-echo", 5300)
    require(all(answer["equal"]), "a datagram came back changed")
    flow = await stage.flow(caller, "default/udp-echo:5300", answer["port"])
    sizes = ", ".join(map(str, DATAGRAM_SIZES))
    asked = f"datagrams of {sizes} bytes to udp-echo:5300"
    return Outcome(asked, caller.description, "all of them, unchanged", _over(flow))


async def websocket(stage: Stage) -> Outcome:
    """An HTTP connection that becomes something else."""
    caller = stage.caller("client")
    answer = await stage.call(caller, "websocket", "websocket-echo", 8080)
    require(answer["equal"], f"{answer['status']}; the message came back changed")
    flow = await stage.flow(caller, "default/websocket-echo:8080", answer["port"])
    text = f"{answer['status']}; the message, unchanged"
    return Outcome("a message to ws://websocket-echo:8080", caller.description, text, _over(flow))


async def half_closed(stage: Stage) -> Outcome:
    """Each direction ends by itself: what is on its way after the FIN still arrives."""
    caller = stage.caller("client")
    answer = await stage.call(caller, "half-close", "byte-echo", 7000)
    flow = await stage.flow(caller, "default/byte-echo:7000", answer["port"])
    counts = (answer["bytes"], flow.bytes_sent, flow.bytes_received)
    require(counts == (HALF_CLOSED_BYTES,) * 3, f"bytes received, reported: {counts}")
    require(answer["sent"] == answer["received"], "the SHA-256 differs")
    mebibytes = HALF_CLOSED_BYTES // 1024 // 1024
    asked = f"{mebibytes} MiB to byte-echo:7000, then FIN, then read to the end"
    text = f"{mebibytes} MiB with the same SHA-256, {answer['received']}"
    return Outcome(asked, caller.description, text, _over(flow))


STEPS = (
    Step("HTTP by name", ("client", "web"), http_by_name),
    Step("Three endpoints, spread evenly", (), spread_evenly),
    Step("A call from the node itself", (), from_the_node),
    Step("TCP where the server speaks first", ("tcp-echo",), server_speaks_first),
    Step("UDP", ("udp-echo",), datagrams),
    Step("WebSocket", ("websocket-echo",), websocket),
    Step("The same over IPv6", ("dual-stack",), over_ipv6),
    Step("Half-closed TCP", ("byte-echo",), half_closed),
)


async def _curl(stage: Stage, word: str, service: str, url: str, *options: str) -> Outcome:
    caller = stage.caller(word)
    argv = ["curl", "-sS", *options, url]
    answer, port = (await stage.run(caller, [*argv, "-w", "%{local_port}"])).split()
    flow = await stage.flow(caller, f"default/{service}:80", int(port))
    pod = flow.endpoint_pod.rpartition("/")[2]
    require(answer in stage.pods_of(service), f"{answer!r} is no pod of {service}")
    require(answer == pod, f"{answer!r} answered, but the report says {pod!r}")
    return Outcome(shlex.join(argv), caller.description, answer, _over(flow))


def _over(flow: FlowReport) -> str:
    return f"{flow.endpoint}, {flow.endpoint_pod}, by {flow.path} in {flow.duration * 1000:.1f} ms"


def _counted(answers: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(answers.items()))
