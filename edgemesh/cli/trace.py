"""``edgemesh trace``: where a call to a Service breaks."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from edgemesh.app.trace.call import Agent
from edgemesh.app.trace.walk import walk
from edgemesh.cli.connection import NO_OPTIONS, AgentOptions
from edgemesh.cli.trace_page import first_failure, trace_page


async def trace(
    service: str,
    *,
    namespace: Annotated[str, Parameter(name=["--namespace", "-n"])] = "default",
    caller: Annotated[str, Parameter(name="--from")] = "",
    ipv6: Annotated[bool, Parameter(name=["--ipv6", "-6"], negative="")] = False,
    server_name: str = "",
    request: str = "",
    header: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    agent: AgentOptions = NO_OPTIONS,
) -> int:
    """Walk a call to a Service hop by hop on this node, and name the hop that fails.

    Nothing is changed and no data is sent, but connections are made. The exit code is 1 when a
    hop fails.

    Args:
        service: SERVICE, SERVICE:PORT or SERVICE.NAMESPACE:PORT; without a port, its first.
        namespace: of the Service, and of the Pod that calls.
        caller: the Pod of this node that calls, by name, NAMESPACE/NAME or address; else the
            node itself does.
        ipv6: call by IPv6.
        server_name: that a TLS client would name: the decision is the one about such a call.
        request: on a port whose requests are routed, the one that is meant: 'GET /path' or
            'GET http://host/path'.
        header: of the request, as 'name: value'; may be given again.
        as_json: print the hops as a JSON array.
        agent: which agent.
    """
    settings = agent.settings()
    reached = Agent(settings, agent.path(settings))
    hops = await walk(
        reached,
        service,
        namespace,
        caller=caller,
        ipv6=ipv6,
        server_name=server_name,
        request=request,
        headers=header,
    )
    print(msgspec.json.encode(hops).decode() if as_json else trace_page(hops))
    return 1 if first_failure(hops) else 0
