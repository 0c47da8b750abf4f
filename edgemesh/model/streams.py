"""Streams between ends of the mesh: what one asks for, and what the other is asked for."""

from __future__ import annotations

from typing import NamedTuple

from edgemesh.model.services import PortKey, Transport

# The end that is no node, and is called as no node can be: a node may well be called ``cloud``.
CLOUD = "@cloud"
# Of Node objects: where the node takes links, ``address:port`` each, with commas between.
LINK_ANNOTATION = "edgemesh.io/link"
VERSION_ANNOTATION = "edgemesh.io/version"
# What the cloud notes on Node objects of what nodes say of themselves.
NODE_ANNOTATIONS = (LINK_ANNOTATION, VERSION_ANNOTATION)


class StreamRequest(NamedTuple):
    """A stream that this end wants.

    Args:
        node: the end where the stream goes, a node or `CLOUD`.
        port: the Service port that is called.
        endpoint: ``address:port`` of the endpoint that was chosen, "" where the other end chooses.
        client: address and port of who calls.
        workload: ``namespace/name`` of the caller, "" when it is unknown.
        transport: TCP or UDP.
    """

    node: str
    port: PortKey
    endpoint: str
    client: tuple[str, int]
    workload: str
    transport: Transport


class InboundStream(NamedTuple):
    """A stream that another end wants from this one.

    Args:
        from_node: the end that opened it; its certificate has said so.
        port: the Service port that is called.
        endpoint: ``address:port`` of the endpoint that was chosen, "" where this end chooses.
        client: address and port of who calls, as the other end says.
        workload: the caller's, as the other end says; "" when it is unknown.
        transport: TCP or UDP.
    """

    from_node: str
    port: PortKey
    endpoint: str
    client: tuple[str, int]
    workload: str
    transport: Transport


class Refusal(NamedTuple):
    """Why a stream is not accepted.

    Args:
        problem: an errno, for who called.
        reason: the same in words, for people.
    """

    problem: int
    reason: str
