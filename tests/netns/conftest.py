"""Namespaces for tests of interception, made for each test and removed after it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from connect_lab import ConnectLab, Programs, loaded_programs
from interception_lab import Lab
from mesh import Mesh, new_mesh

from edgemesh.lab.network import add_namespace, delete_namespace, namespaces


@pytest.fixture
def namespace_prefix() -> Iterator[str]:
    prefix = f"nf{uuid.uuid4().hex[:8]}-"
    yield prefix
    for name in namespaces(prefix):
        delete_namespace(name)


@pytest.fixture
def lone_node(namespace_prefix: str) -> str:
    """A namespace with a loopback interface and nothing else."""
    name = f"{namespace_prefix}node"
    add_namespace(name)
    return name


@pytest.fixture
def pod_node_server(namespace_prefix: str) -> Lab:
    """A pod and a server with a node between them, see interception_lab."""
    lab = Lab(namespace_prefix)
    lab.build()
    return lab


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    """A pod, a node and a server, and an agent for the node that is not started yet."""
    with new_mesh() as made:
        yield made


@pytest.fixture
def other_mesh() -> Iterator[Mesh]:
    """Another, with the same addresses."""
    with new_mesh() as made:
        yield made


@pytest.fixture(scope="session")
def connect_programs() -> Iterator[Programs]:
    """The programs of the connect path, compiled once: each test empties their maps."""
    with loaded_programs() as programs:
        yield programs


@pytest.fixture
def connect_lab(connect_programs: Programs) -> Iterator[ConnectLab]:
    """Services that are balanced when they are called, and callers, see connect_lab."""
    with ExitStack() as opened:
        yield ConnectLab(connect_programs, opened)
