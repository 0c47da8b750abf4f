"""Settings of what joins nodes with each other and with the cloud."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]

# KubeEdge's; the first part of the path that an edge dials.
DEFAULT_PROJECT = "e632aba927ea4ac2b575ec1603d56f10"


@dataclass(frozen=True, slots=True)
class BusSettings:
    """An edge node's side: its connection to the cloud, and its links to other nodes.

    Args:
        cloud: host or ``host:port`` of the cloudhub; "" for a node that stands alone.
        enrolment_port: where the same host enrols nodes.
        token_file: holds the token that a node enrols with; read only while it has no
            certificate.
        authority_file: the certificate of the cloud's authority, PEM, for a token that does not
            name it: a ServiceAccount's.
        project: the first part of the path that is dialled.
        keepalive_seconds: between keepalives to the cloud.
        silence_seconds: without a word from the cloud that end the connection; TCP itself would
            notice after a quarter of an hour.
        answer_seconds: how long an answer of the cloud is waited for.
        accept_seconds: how long a sign is waited for that the cloud has accepted this node:
            CloudCore refuses without a word.
        dial_seconds: for connecting, TLS and upgrade together.
        list_seconds: how often a CloudCore is asked for the cluster's Services and policies; it
            tells of none by itself.
        first_retry_seconds, max_retry_seconds: pause after a connection that failed; it doubles,
            with jitter.
        max_message_bytes: of one Message.
        inbox_messages, inbox_bytes: that were received and are not on disk yet; nothing more is
            read of the connection while there are so many.
        outbox_messages: that wait to be sent; whoever has more waits.
        renew_share: the share of a certificate's life after which a new one is asked for.
        links: whether streams go to other nodes by links of our own: ``auto``, or ``off``.
        link_listen: where other nodes' links are taken.
        remote_endpoints: how endpoints on other nodes of the mesh are reached: by the ``bus``, or
            ``direct``, for nodes whose Pods can be dialled from each other.
        link_addresses: ``address`` or ``address:port`` under which other nodes reach that; empty
            means the addresses of the interface that leads to the cloud.
        link_idle_seconds: a link without streams is closed after so long.
        link_silence_seconds: without a word from the peer, although it was asked, end a link.
        probe_seconds: how often a peer that is reached through the hub is tried directly.
        stream_window_bytes: that may be under way of one direction of a stream.
        link_window_bytes: the same of all streams of one link together.
        max_streams: open on one link.
        max_frame_bytes: the most data in one frame, so that no stream holds up the others.
        link_buffer_bytes: put together for one link at once, and kept while it takes nothing.
        link_patience_seconds: how long streams wait for a link before they go by the hub.
        max_handshakes: links that have not said yet whose they are, of those that others dial.
        stream_rate: streams that one link may open a second; ``max_streams`` at once.
        stream_linger_seconds: how long a stream is kept that this end has closed and the other
            has not.
        max_hops: how many ends may pass a stream on.
        servicebus_listen: where applications of this node ask the cloud, as with KubeEdge's
            servicebus; without an address they do not.
        servicebus_ports: of applications of this node that the cloud may call, besides those that
            RuleEndpoints name; KubeEdge's cloud sends no RuleEndpoints.
        eventbus: the node's MQTT broker, ``mqtt://[user:password@]host[:port]``; "" for none.
        request_seconds: for what the cloud asks of an application, or an application of the cloud.
        max_body_bytes: of what either says.
        max_uploads: messages of the broker that may wait for the cloud; the oldest gives way.
    """

    cloud: str = ""
    enrolment_port: Port = 10002
    token_file: Path = Path("/etc/edgemesh/token")
    authority_file: Path = Path("/etc/edgemesh/authority.crt")
    project: str = DEFAULT_PROJECT
    keepalive_seconds: Seconds = 15.0
    silence_seconds: Seconds = 45.0
    answer_seconds: Seconds = 10.0
    accept_seconds: Seconds = 10.0
    list_seconds: Seconds = 30.0
    dial_seconds: Seconds = 10.0
    first_retry_seconds: Seconds = 0.5
    max_retry_seconds: Seconds = 30.0
    max_message_bytes: Count = 16 * 1024 * 1024
    inbox_messages: Count = 1024
    inbox_bytes: Count = 4 * 1024 * 1024
    outbox_messages: Count = 64
    renew_share: Annotated[float, Meta(gt=0, lt=1)] = 0.6
    links: Literal["auto", "off"] = "auto"
    link_listen: tuple[str, ...] = ("0.0.0.0:10006", "[::]:10006")
    remote_endpoints: Literal["bus", "direct"] = "bus"
    link_addresses: tuple[str, ...] = ()
    link_idle_seconds: Seconds = 300.0
    link_silence_seconds: Seconds = 20.0
    probe_seconds: Seconds = 15.0
    stream_window_bytes: Annotated[int, Meta(ge=16384, le=2**31 - 1)] = 1048576
    link_window_bytes: Annotated[int, Meta(ge=65536, le=2**31 - 1)] = 16 * 1024 * 1024
    max_streams: Count = 4096
    max_frame_bytes: Annotated[int, Meta(ge=1024, le=2**24 - 1)] = 65536
    link_buffer_bytes: Annotated[int, Meta(ge=65536)] = 524288
    link_patience_seconds: Seconds = 0.5
    max_handshakes: Count = 128
    stream_rate: Count = 10000
    stream_linger_seconds: Seconds = 60.0
    max_hops: Count = 4
    servicebus_listen: tuple[str, ...] = ("127.0.0.1:9060",)
    servicebus_ports: tuple[Port, ...] = ()
    eventbus: str = ""
    request_seconds: Seconds = 30.0
    max_body_bytes: Count = 8 * 1024 * 1024
    max_uploads: Count = 1000


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """``edgemesh cloud``.

    Args:
        name: of this replica, "" for the host's name.
        hub_listen: cloudhub: Messages by WebSocket, and links, told apart by ALPN.
        enrolment_listen: where nodes get their certificates.
        rest_listen: the router's REST ingress.
        names: DNS names and addresses that nodes dial, for the cloud's certificate.
        replica_address: ``host:port`` under which other replicas reach ``hub_listen``; "" where
            there is one replica.
        token_seconds: how long a token that was made is good.
        node_certificate_seconds, server_certificate_seconds: how long certificates are.
        silence_seconds: without a keepalive that end a node's session.
        resend_seconds, resends: a Message that is not acknowledged is sent again, and after so
            many times put back behind the newest state of its object; an edgemesh node has six
            times as long.
        in_flight: Messages to one edgemesh node that may wait for their acknowledgement when
            another frame of no more than so many is sent; KubeEdge nodes get one at a time.
        node_news_quiet_seconds, node_news_seconds, node_news_most_seconds: what has changed of
            Nodes is told to others when nothing more has come for so long, or after the second
            time; while many have not taken in what they were told before, after the third.
        max_nodes: sessions at a time.
        message_burst, messages_per_second: that one node may ask or write without being made to
            wait; acknowledgements and answers do not count.
        handshake_seconds: for TLS and upgrade of a connection together, and for one enrolment.
        max_handshakes: connections at a time that have not yet said which node they are.
        max_message_bytes: of one Message.
        request_seconds: for a request through the router, 504 after it.
        max_body_bytes: of a request that has to fit into one Message; streams have no limit.
        max_requests: of the REST ingress at a time; who comes beyond it waits.
        max_uploads: of nodes that are led on at a time, and that may wait for it.
        rule_errors: sentences about each rule's failures that are kept, the latest.
        deleted_rules: that are kept in the router's tables after their objects went.
        presence_seconds: how often a replica says that it lives; it is dead after three times.
    """

    name: str = ""
    hub_listen: tuple[str, ...] = ("0.0.0.0:10000", "[::]:10000")
    enrolment_listen: tuple[str, ...] = ("0.0.0.0:10002", "[::]:10002")
    rest_listen: tuple[str, ...] = ("0.0.0.0:9443", "[::]:9443")
    names: tuple[str, ...] = ()
    replica_address: str = ""
    token_seconds: Seconds = 3600.0
    node_certificate_seconds: Seconds = 30 * 86400.0
    server_certificate_seconds: Seconds = 365 * 86400.0
    silence_seconds: Seconds = 30.0
    resend_seconds: Seconds = 5.0
    resends: Count = 4
    in_flight: Count = 512
    node_news_quiet_seconds: Seconds = 0.2
    node_news_seconds: Seconds = 2.0
    node_news_most_seconds: Seconds = 20.0
    max_nodes: Count = 5000
    message_burst: Count = 1000
    messages_per_second: Count = 200
    handshake_seconds: Seconds = 10.0
    max_handshakes: Count = 1024
    max_message_bytes: Count = 16 * 1024 * 1024
    request_seconds: Seconds = 60.0
    max_body_bytes: Count = 12 * 1024 * 1024
    max_requests: Count = 1024
    max_uploads: Count = 256
    rule_errors: Count = 20
    deleted_rules: Count = 1000
    presence_seconds: Seconds = 2.0
