"""What the agent tells about paths: ``edgemesh get services -o wide``."""

from __future__ import annotations

from collections.abc import Iterator

from edgemesh.model.paths import AvailablePaths, PathStatus
from edgemesh.model.services import Service, ServicePort, Snapshot, Transport
from edgemesh.model.status import ServicesQuestion
from edgemesh.policy.paths import choose_path
from edgemesh.policy.service_model import OTHER_PROXY_LABEL


def service_paths(
    snapshot: Snapshot, available: AvailablePaths, question: ServicesQuestion
) -> Iterator[list[PathStatus]]:
    """The paths of Service ports, Service by Service.

    Args:
        snapshot: the one in force.
        available: what works on this node.
        question: which Services are asked for.
    """
    for (namespace, name), service in snapshot.services.items():
        if question.is_about(namespace, name):
            yield [_status(snapshot, service, port, available) for port in service.ports]
        else:
            yield []


def _status(
    snapshot: Snapshot, service: Service, port: ServicePort, available: AvailablePaths
) -> PathStatus:
    whose = (port.namespace, port.service, port.port, str(port.transport))
    if not service.addresses:
        return PathStatus(*whose, "", "its name leads to the endpoints themselves")
    index = snapshot.tcp if port.transport is Transport.TCP else snapshot.udp
    if not any((address, port.port) in index for address in service.addresses):
        return PathStatus(*whose, "", f"label {OTHER_PROXY_LABEL}: another proxy serves it")
    choice = choose_path(port, port.application_protocol, available)
    return PathStatus(*whose, choice.path, choice.reason)
