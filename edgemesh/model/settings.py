"""The configuration as frozen values. ``app/config.py`` reads them from file, environment, flags.

Every limit that RELIABILITY-minded operators may want to turn is here, by name, with its unit
in the name where it is not a plain count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.bus_settings import BusSettings, CloudSettings
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.observe_settings import AdminSettings, LogSettings, MetricsSettings

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Mark = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


@dataclass(frozen=True, slots=True)
class NetfilterSettings:
    """Interception.

    Args:
        enabled: whether the agent installs rules itself.
        install: ``always`` from its start to its end; ``needed`` only while something has to be
            diverted that the ``connect`` path does not take over. See netfilter/README.md.
        decision_seconds: how long an agent with ``needed`` waits at its start for what BPF can
            do, before it installs rules.
        linger_seconds: how much longer they stay than anything needs them.
        backend: ``nft`` or ``iptables``.
        mode: ``tproxy`` or ``redirect``.
        family: address families to intercept.
        fail: ``open`` lets traffic through untouched when the agent is gone, ``closed`` refuses.
        mark_mask: the bits of the packet mark that are ours.
        divert_mark, own_mark: values within the mask for diverted packets and our own sockets.
        route_table: the policy-routing table; rule_priority: of the rule that leads to it.
        table: name of the nft table (and prefix of iptables chains).
        service_cidrs: where ClusterIPs lie. A call to them from the node itself finds a route
            even while the node has none that matches, as offline without a default route.
        fallback_table, fallback_priority: of the route and the rules that see to that.
        watchdog_seconds: an agent that has hung for so long is killed, so that traffic goes on
            as its fail mode ``open`` promises; 0 for never.
    """

    enabled: bool = True
    install: Literal["always", "needed"] = "always"
    decision_seconds: Seconds = 10.0
    linger_seconds: Seconds = 10.0
    backend: Literal["nft", "iptables"] = "nft"
    mode: Literal["tproxy", "redirect"] = "tproxy"
    family: Literal["ipv4", "ipv6", "both"] = "both"
    fail: Literal["open", "closed"] = "open"
    mark_mask: Mark = 0xFF
    divert_mark: Mark = 0x45
    own_mark: Mark = 0x46
    route_table: Count = 4500
    rule_priority: Count = 90
    table: str = "edgemesh"
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12", "fd00:96::/112")
    fallback_table: int = 4501
    fallback_priority: int = 32800
    watchdog_seconds: Annotated[float, Meta(ge=0)] = 5.0


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The data plane.

    Args:
        tcp_port, udp_port: transparent listeners.
        source: the address that endpoints see, unless the Service says otherwise.
        intercept_default: whether calls of Pods are intercepted that say nothing about it, and
            whose Namespace says nothing either. ``disabled`` leaves everybody else alone, too:
            the node's own calls, and those that come from elsewhere.
        peek: ``needed`` waits for the first bytes only where a policy depends on the protocol;
            ``always`` waits on every port that declares none.
        peek_deadline_seconds: after it, an undeclared protocol is opaque.
        connect_timeout_seconds: for each endpoint that is tried.
        connect_attempts: how many endpoints are tried for one connection.
        tcp_idle_timeout_seconds, udp_idle_timeout_seconds: silence that ends a flow.
        half_closed_timeout_seconds: silence that ends a flow with one direction closed.
        drain_grace_seconds: how long flows may finish after SIGTERM.
        max_connections, max_udp_sessions: the oldest idle UDP session gives way; a TCP
            connection beyond the limit is refused.
        relay_buffer_bytes: read at once, and so at most kept per direction of a flow.
        flow_kernel_bytes: that the kernel keeps at most per direction of a flow in our sockets'
            buffers, overhead included, when its receiver does not read. Up to a half of it is the
            window that senders are offered: more carries more over long distances.
        splice: ``auto`` lets splice(2) move what flows carry beyond ``splice_after_bytes`` with
            hardly an answer: ``splice_bytes`` at most at once, ``max_pipes`` at a time; or ``off``.
        repoll_seconds: how long the reactor looks again before it sleeps, while that pays.
        max_quota_keys: sources or routes that have a token bucket, for each quota; the one that
            was not used for longest gives way.
        max_affinity_clients: addresses that are remembered for ``sessionAffinity: ClientIP``, for
            each Service port; the one that called longest ago gives way.
        max_probes: active health checks that are under way at a time; others wait for a place.
        min_probe_interval_seconds: between those of one endpoint, whatever its policy says.
        inbound_linger_seconds: how long calls of an endpoint of this node are let through that is
            not intercepted any more; the rules follow within moments.
        limited_connection_seconds: how old a connection to an endpoint of another node may be
            when a request is sent on it, if servers of the Service are limited: that node sees
            only connections that are opened while it intercepts them.
    """

    tcp_port: Port = 15001
    udp_port: Port = 15002
    source: Literal["node", "preserve"] = "node"
    intercept_default: Literal["enabled", "disabled"] = "enabled"
    peek: Literal["needed", "always"] = "needed"
    peek_deadline_seconds: Seconds = 0.5
    connect_timeout_seconds: Seconds = 2.0
    connect_attempts: Count = 3
    tcp_idle_timeout_seconds: Seconds = 3600.0
    udp_idle_timeout_seconds: Seconds = 30.0
    half_closed_timeout_seconds: Seconds = 300.0
    drain_grace_seconds: Seconds = 30.0
    max_connections: Count = 9500
    max_udp_sessions: Count = 8192
    relay_buffer_bytes: Count = 65536
    flow_kernel_bytes: Annotated[int, Meta(ge=1048576)] = 4194304
    splice: Literal["auto", "off"] = "auto"
    splice_after_bytes: Count = 1048576
    splice_bytes: Count = 1048576
    max_pipes: Count = 256
    repoll_seconds: Annotated[float, Meta(ge=0, le=0.001)] = 0.0001
    max_quota_keys: Count = 10000
    max_affinity_clients: Count = 10000
    max_probes: Count = 64
    min_probe_interval_seconds: Seconds = 0.1
    inbound_linger_seconds: Seconds = 10.0
    limited_connection_seconds: Seconds = 60.0


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The ``http`` path.

    Args:
        max_head_bytes, max_fields, max_request_line_bytes: of a request or a response.
        head_timeout_seconds: from the first byte of a request to the end of its head.
        keepalive_timeout_seconds: silence between requests that ends a client's connection.
        idle_timeout_seconds: silence within a request that ends it.
        request_timeout_seconds: for a whole request where no policy says otherwise; 0 for none.
        retry_buffer_bytes: of a request's body that are kept for sending it again.
        pipeline_bytes: that a client may send ahead of the answers.
        idle_connections: to each endpoint that are kept for the next request.
        idle_connection_seconds: how long they are kept.
        max_pending: requests of one Service port that wait for a connection, where its policy
            says how many connections there may be, but not how many may wait.
        linger_seconds: how long what a refused client still sends is read, so that it gets to
            read the answer.
        drain_idle_seconds: how long a connection without a request is kept after SIGTERM.
        head_cache_entries, head_cache_bytes: heads that are remembered, since clients repeat
            them; requests and responses apart.
        max_cached_head_bytes: a longer head is read anew each time.
        max_chunk_line_bytes: of the size of one chunk and its extensions.
        max_chunk_overhead_bytes: how much more than data the chunk lines of one body may be.
    """

    max_head_bytes: Count = 61440
    max_fields: Count = 100
    max_request_line_bytes: Count = 8192
    head_timeout_seconds: Seconds = 10.0
    keepalive_timeout_seconds: Seconds = 3600.0
    idle_timeout_seconds: Seconds = 300.0
    request_timeout_seconds: Annotated[float, Meta(ge=0)] = 0.0
    retry_buffer_bytes: Count = 65536
    pipeline_bytes: Count = 65536
    idle_connections: Count = 128
    idle_connection_seconds: Seconds = 60.0
    max_pending: Count = 1024
    linger_seconds: Seconds = 2.0
    drain_idle_seconds: Seconds = 1.0
    head_cache_entries: Count = 1024
    head_cache_bytes: Count = 1048576
    max_cached_head_bytes: Count = 4096
    max_chunk_line_bytes: Count = 4096
    max_chunk_overhead_bytes: Count = 16384


@dataclass(frozen=True, slots=True)
class Http2Settings:
    """HTTP/2 on the ``http`` path; what it shares with HTTP/1 is in HttpSettings.

    Args:
        max_streams: that a client may have open on one connection.
        stream_window_bytes: that may be under way, or kept here, of one direction of a stream.
        connection_window_bytes: the same for all of a client's request bodies together.
        output_bytes: that are put together for one connection at once.
        connection_cache_bytes, cache_bytes: of header blocks that are remembered with what they
            mean, by one connection and by all together.
        glitch_burst, glitch_rate: frames that are allowed but of no use (resets, pings, empty
            data and the like) which a connection may send at once, and a second.
        max_upstream_connections: to each endpoint; beyond it a request waits for a stream.
    """

    max_streams: Count = 100
    stream_window_bytes: Annotated[int, Meta(ge=16384, le=2**31 - 1)] = 65536
    connection_window_bytes: Annotated[int, Meta(ge=65535, le=2**31 - 1)] = 1048576
    output_bytes: Count = 262144
    connection_cache_bytes: Count = 65536
    cache_bytes: Count = 33554432
    glitch_burst: Count = 1000
    glitch_rate: Annotated[float, Meta(ge=0)] = 100.0
    max_upstream_connections: Count = 32


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """The resolver that pods ask.

    Args:
        enabled: whether it is served.
        listen: ``address:port`` or ``[address]:port``; addresses that the node lacks are added
            to the loopback interface while the agent runs.
        domain: the cluster's domain.
        ttl_seconds: of answers about Services.
        upstreams: servers for all other names; empty means those of resolv_conf.
        resolv_conf: where upstreams are read from when none are set.
        resolv_conf_check_seconds: how often a change of that file is looked for.
        upstream_timeout_seconds: for one question.
        cache_entries, cache_bytes: upper bounds of the cache.
        cache_max_ttl_seconds, negative_ttl_seconds: how long answers and denials are kept.
        stale_max_seconds: how long expired answers still serve while no upstream answers.
        max_pending: clients that wait for upstream answers at a time; beyond it SERVFAIL.
        udp_payload_bytes: the largest datagram that is sent, if the client takes it, and that
            upstreams are told to send.
        tcp_idle_timeout_seconds: silence that ends a client's connection.
        tcp_max_connections: beyond it the oldest connection gives way.
    """

    enabled: bool = True
    listen: tuple[str, ...] = ("169.254.96.16:53",)
    domain: str = "cluster.local"
    ttl_seconds: Count = 30
    upstreams: tuple[str, ...] = ()
    resolv_conf: Path = Path("/etc/resolv.conf")
    resolv_conf_check_seconds: Seconds = 5.0
    upstream_timeout_seconds: Seconds = 2.0
    cache_entries: Count = 10000
    cache_bytes: Count = 8 * 1024 * 1024
    cache_max_ttl_seconds: Count = 3600
    negative_ttl_seconds: Count = 30
    stale_max_seconds: Count = 3600
    max_pending: Count = 512
    udp_payload_bytes: Count = 1232
    tcp_idle_timeout_seconds: Seconds = 10.0
    tcp_max_connections: Count = 128


@dataclass(frozen=True, slots=True)
class ManifestLimits:
    """How much a manifest may ask of its reader.

    Args:
        max_bytes: of one file or stream; a reader asks for the size before it reads.
        max_depth: mappings and lists within each other.
        max_documents: YAML documents, JSON values and items of a ``List`` together.
        max_alias_bytes: text that YAML aliases may repeat in total, so that a few lines cannot
            stand for gigabytes.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_depth: int = 64
    max_documents: int = 100_000
    max_alias_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MetaSettings:
    """The store and the metamanager.

    Args:
        store_url: any SQLAlchemy URL; "" means SQLite in the state directory.
        service_cidr4, service_cidr6: where ClusterIPs are taken from for Services that were
            applied without a cluster.
        node_port_first, node_port_last: where their node ports are taken from, both included.
        watch_queue: changes a slow watcher may lag behind before it is cut off.
        max_message_bytes: the longest line that is read from a client that may write, and the
            longest answer.
        max_query_bytes: the longest line that is read from a client that may only read.
        max_clients: connections to the socket at a time.
        max_subscriptions: watches of one connection.
        client_timeout_seconds: a client that takes nothing of an answer for so long is cut off,
            and an agent that gives none is no longer waited for.
        answer_timeout_seconds: how long a command waits for the agent to tell about itself.
        conditions_wait_seconds: how long a query waits for the snapshot that it tells about, at
            most.
        page_bytes: objects that are read from the store at once for a watch.
        history: deletions are remembered for so many changes.
        read_retry_seconds: how long the agent waits before it reads again from a store that
            could not be read.
    """

    store_url: str = ""
    service_cidr4: str = "10.96.0.0/12"
    service_cidr6: str = "fd00:96::/112"
    node_port_first: int = 30000
    node_port_last: int = 32767
    watch_queue: Count = 10000
    max_message_bytes: Count = 64 * 1024 * 1024
    max_query_bytes: Count = 64 * 1024
    max_clients: Count = 256
    max_subscriptions: Count = 64
    client_timeout_seconds: Seconds = 30.0
    answer_timeout_seconds: Seconds = 5.0
    conditions_wait_seconds: Seconds = 1.0
    page_bytes: Count = 1024 * 1024
    history: Count = 10000
    read_retry_seconds: Seconds = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. ``node`` is "" until the host's name is filled in."""

    node: str = ""
    state_dir: Path = Path("/var/lib/edgemesh")
    run_dir: Path = Path("/run/edgemesh")
    netfilter: NetfilterSettings = field(default_factory=NetfilterSettings)
    proxy: ProxySettings = field(default_factory=ProxySettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    http2: Http2Settings = field(default_factory=Http2Settings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    meta: MetaSettings = field(default_factory=MetaSettings)
    manifest: ManifestLimits = field(default_factory=ManifestLimits)
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    bpf: BpfSettings = field(default_factory=BpfSettings)
    bus: BusSettings = field(default_factory=BusSettings)
    cloud: CloudSettings = field(default_factory=CloudSettings)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)

    @property
    def socket_path(self) -> Path:
        """The metamanager's unix socket."""
        return self.run_dir / "meta.sock"

    @property
    def store_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.meta.store_url or f"sqlite:///{self.state_dir / 'edgemesh.db'}"

    @property
    def shown_store_url(self) -> str:
        """The SQLAlchemy URL for people to see: without a password."""
        return re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", self.store_url)
