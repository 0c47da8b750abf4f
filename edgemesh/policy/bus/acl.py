"""What streams that other ends of the mesh want are let in to.

A node lets them in to endpoints of Services that it runs itself, and to nothing else: it is no
way into the networks around it. Where streams name no endpoint, as in the cloud, it takes a Rule
that leads to the Service.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from edgemesh.model.services import Endpoint, PortKey, ServicePort, Snapshot
from edgemesh.model.streams import Refusal
from edgemesh.policy.inbound import stream_port
from edgemesh.wire.host_port import joined


class Admitted(NamedTuple):
    """What a stream enters by.

    Args:
        port: as the snapshot has it.
        entered: the same as the stream's calls see it.
    """

    port: ServicePort
    entered: ServicePort


def admit(snapshot: Snapshot, called: PortKey, place: str, *, chooses: bool) -> Admitted | Refusal:
    """What a stream enters by, or why it does not.

    Args:
        snapshot: what is known here.
        called: the Service port that is wanted.
        place: ``address:port`` of the endpoint that is wanted, "" where it is to be chosen here.
        chooses: whether that is done here, for Services that Rules lead to.
    """
    port = snapshot.ports.get(called)
    if port is None or port.inbound:
        return Refusal(errno.ECONNREFUSED, f"{_name(called)} is not known here")
    if not place:
        problem = _problem_of_choice(snapshot, port) if chooses else "no endpoint was named"
        if problem:
            return Refusal(errno.EACCES, f"{_name(called)}: {problem}")
        return Admitted(port, port)
    endpoint = _find(port, place)
    if endpoint is None:
        return Refusal(errno.ECONNREFUSED, f"{place} is no endpoint of {_name(called)} now")
    if not snapshot.node or endpoint.node != snapshot.node:
        return Refusal(errno.EACCES, f"{place} of {_name(called)} does not run here")
    return Admitted(port, stream_port(port, endpoint))


def _problem_of_choice(snapshot: Snapshot, port: ServicePort) -> str:
    ports = snapshot.ruled.get((port.namespace, port.service))
    if ports is None or (ports and port.port not in ports):
        return "no Rule leads there"
    return ""


def _find(port: ServicePort, place: str) -> Endpoint | None:
    return next((each for each in port.endpoints if joined(each.address, each.port) == place), None)


def _name(called: PortKey) -> str:
    namespace, service, transport, port = called
    return f"{namespace}/{service}:{port}/{transport}"
