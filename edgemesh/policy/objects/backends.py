"""Where routes lead: whether the Service port and the subset that they name are there."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from typing import NamedTuple

from edgemesh.model.routes import Backend
from edgemesh.model.services import Service, ServiceName, Transport


class Neighbours(NamedTuple):
    """The Services that a route may lead to.

    Args:
        service: by name; its endpoints do not matter. None when there is none.
        subsets: names of its subsets.
        granted: whether a route of this kind and namespace may lead to a Service elsewhere.
    """

    service: Callable[[ServiceName], Service | None]
    subsets: Callable[[ServiceName], Container[str]]
    granted: Callable[[str, str, ServiceName], bool] = lambda _kind, _namespace, _service: False


def checked(backend: Backend, neighbours: Neighbours) -> Backend:
    """The backend, with the problem that it has if it leads nowhere."""
    if backend.problem:
        return backend
    problem = _problem(backend, neighbours)
    return replace(backend, problem=problem) if problem else backend


def only_port(name: ServiceName, neighbours: Neighbours) -> int:
    """The number of a Service's port where it has one alone, else 0."""
    service = neighbours.service(name)
    ports = _tcp_ports(service) if service else []
    return ports[0] if len(ports) == 1 else 0


def _problem(backend: Backend, neighbours: Neighbours) -> str:
    name = (backend.namespace, backend.service)
    shown = f"Service {backend.namespace}/{backend.service}"
    service = neighbours.service(name)
    if service is None:
        return f"{shown} not found"
    if backend.port and backend.port not in _tcp_ports(service):
        return f"{shown} has no port {backend.port}"
    if backend.subset and backend.subset not in neighbours.subsets(name):
        return f"{shown} has no subset {backend.subset}"
    return ""


def _tcp_ports(service: Service) -> list[int]:
    return [port.port for port in service.ports if port.transport is Transport.TCP]
