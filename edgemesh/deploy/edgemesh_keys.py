"""What becomes of each key of EdgeMesh's agent (v1.9 to v1.17)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

Found = Mapping[str, Any]
Settings = Mapping[str, Any]


class Fate(StrEnum):
    """What became of a key."""

    TAKEN = "taken"
    ELSEWHERE = "elsewhere"  # said in another place than the configuration
    NOT_NEEDED = "not needed"
    NOT_SUPPORTED = "not supported"
    UNKNOWN = "unknown"


class Outcome(NamedTuple):
    """What became of a key.

    Args:
        fate: see there.
        note: why, or what to do.
        settings: ours that come of it, by ``section.key``.
    """

    fate: Fate
    note: str = ""
    settings: Settings = MappingProxyType({})


class WrongValueError(ValueError):
    """A value is not what EdgeMesh has in its place; the message says what that is."""


# A rule is given the value, and all values by their keys.
Rule = Callable[[Any, Found], Outcome]

_ADDRESS = "commonConfig.bridgeDeviceIP"
_OLD_ADDRESS = "commonConfig.dummyDeviceIP"  # before v1.12
_DNS_PORT = "modules.edgeDNS.listenPort"
_UPSTREAMS = "modules.edgeDNS.cacheDNS.upstreamServers"
_MASTER = "kubeAPIConfig.master"
_KUBECONFIG = "kubeAPIConfig.kubeConfig"
_METASERVER = "kubeAPIConfig.metaServer.server"
_SECURE = "kubeAPIConfig.metaServer.security.requireAuthorization"
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def _is_a(kind: type, words: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise WrongValueError(f"expected {words}")
        return value

    return check


_truth = _is_a(bool, "true or false")
_number = _is_a(int, "a number")
_text = _is_a(str, "a text")


def _port(value: Any) -> int:
    if not 0 < _number(value) < 65536:
        raise WrongValueError("expected a port from 1 to 65535")
    return int(value)


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(_text(value)))
    except ValueError:
        raise WrongValueError("expected an address") from None


def _not_needed(note: str) -> Rule:
    return lambda _value, _found: Outcome(Fate.NOT_NEEDED, note)


def _elsewhere(note: str) -> Rule:
    return lambda _value, _found: Outcome(Fate.ELSEWHERE, note)


def _not_supported(note: str, harmless: tuple[Any, ...] = ()) -> Rule:
    """Not supported, unless it says what holds here anyway."""

    def judge(value: Any, _found: Found) -> Outcome:
        fate = Fate.NOT_NEEDED if value in harmless else Fate.NOT_SUPPORTED
        return Outcome(fate, "" if value in harmless else note)

    return judge


def _while(key: str, rule: Rule) -> Rule:
    """By the rule, where something is switched on; else nothing comes of it."""

    def judge(value: Any, found: Found) -> Outcome:
        if found.get(key):
            return rule(value, found)
        return Outcome(Fate.NOT_NEEDED, f"{key.rpartition('.')[2]} is off")

    return judge


def _taken(setting: str, check: Callable[[Any], Any]) -> Rule:
    return lambda value, _found: Outcome(Fate.TAKEN, "", {setting: check(value)})


def _dns_listen(_value: Any, found: Found) -> Outcome:
    address = _address(found.get(_ADDRESS) or found.get(_OLD_ADDRESS) or "169.254.96.16")
    port = _port(found.get(_DNS_PORT, 53))
    shown = f"[{address}]" if ":" in address else address
    return Outcome(Fate.TAKEN, "", {"dns.listen": [f"{shown}:{port}"]})


def _upstreams(value: Any, _found: Found) -> Outcome:
    if not isinstance(value, list):
        raise WrongValueError("expected a list of addresses")
    if not value:
        return Outcome(Fate.NOT_NEEDED, "none are named")
    return Outcome(Fate.TAKEN, "", {"dns.upstreams": [_text(each) for each in value]})


def _auto_detect(value: Any, found: Found) -> Outcome:
    if _truth(value) and found.get(_UPSTREAMS):
        return Outcome(Fate.NOT_SUPPORTED, "the servers that are named are asked, and no others")
    return Outcome(Fate.NOT_NEEDED, "unless servers are named, those of /etc/resolv.conf are asked")


def _master(value: Any, found: Found) -> Outcome:
    if not _text(value):
        return Outcome(Fate.NOT_NEEDED, "empty")
    if found.get(_KUBECONFIG):
        return Outcome(Fate.NOT_SUPPORTED, "the server of the kubeconfig is asked")
    return Outcome(Fate.TAKEN, "", {"kubernetes.server": value})


def _kubeconfig(value: Any, _found: Found) -> Outcome:
    if not _text(value):
        return Outcome(Fate.NOT_NEEDED, "empty")
    settings = {"kubernetes.server": "kubeconfig", "kubernetes.kubeconfig": value}
    return Outcome(Fate.TAKEN, "", settings)


def _metaserver(value: Any, found: Found) -> Outcome:
    if found.get(_MASTER) or found.get(_KUBECONFIG):
        return Outcome(Fate.NOT_NEEDED, "another server is named")
    return Outcome(Fate.TAKEN, "", {"kubernetes.server": _text(value)})


def _authorization(value: Any, _found: Found) -> Outcome:
    if not _truth(value):
        return Outcome(Fate.NOT_NEEDED, "off")
    return Outcome(Fate.TAKEN, "", {"kubernetes.token_file": _SERVICE_ACCOUNT})


def _filter_mode(value: Any, _found: Found) -> Outcome:
    if value == "FilterIfLabelExists":
        return Outcome(Fate.NOT_NEEDED, "the label keeps a Service out here, too")
    if value == "FilterIfLabelDoesNotExists":
        note = "to opt in, proxy.intercept_default = 'disabled' and labels of Namespaces or Pods"
        return Outcome(Fate.NOT_SUPPORTED, note)
    raise WrongValueError("expected FilterIfLabelExists or FilterIfLabelDoesNotExists")


def _transport(value: Any, _found: Found) -> Outcome:
    if value not in {"tcp", "ws", "quic"}:
        raise WrongValueError("expected tcp, ws or quic")
    fate = Fate.NOT_NEEDED if value == "tcp" else Fate.NOT_SUPPORTED
    return Outcome(fate, "nodes are joined by TLS over TCP")


def _link_listen(value: Any, _found: Found) -> Outcome:
    port = _port(value)
    return Outcome(Fate.TAKEN, "", {"bus.link_listen": [f"0.0.0.0:{port}", f"[::]:{port}"]})


def _links(value: Any, _found: Found) -> Outcome:
    return Outcome(Fate.TAKEN, "", {"bus.links": "auto" if _truth(value) else "off"})


def _metrics(value: Any, _found: Found) -> Outcome:
    note = "who reaches it may read the status, too"
    return Outcome(Fate.TAKEN, note, {"admin.listen": f"0.0.0.0:{_port(value)}"})


def _metrics_switch(value: Any, _found: Found) -> Outcome:
    note = "metrics are served at admin.listen anyway" if _truth(value) else "off"
    return Outcome(Fate.NOT_NEEDED, note)


_ITSELF = _not_needed("EdgeMesh sets it itself")
_BY_CERTIFICATES = _not_needed("nodes know each other by certificates of the cloud")
_BY_CLOUD = _not_needed("what nodes cannot reach directly goes through the cloud: set bus.cloud")
_NO_SOCKS = _not_supported("there is no SOCKS proxy", (False,))
_NO_PROFILES = _not_supported("there are no profiles over HTTP; see admin.listen", (False,))
_NO_CNI = _not_supported("pods get their network elsewhere", (False,))
_PER_SERVICE = "said for each Service by a TrafficPolicy: loadBalancing."

_METASERVER_TLS = "kubeAPIConfig.metaServer.security."
_SOCKS = "modules.edgeProxy.socks5Proxy."
_TUNNEL = "modules.edgeTunnel."
_LIMITS = f"{_TUNNEL}tunnelLimitConfig."
_CERTIFICATE = _while(
    _SECURE, _not_supported("a client certificate comes from a kubeconfig: kubernetes.kubeconfig")
)

KEYS: Mapping[str, Rule] = {
    _MASTER: _master,
    _KUBECONFIG: _kubeconfig,
    "kubeAPIConfig.contentType": _not_needed("objects are read as JSON, from MetaServer, too"),
    "kubeAPIConfig.qps": _not_needed("one watch for each kind of object is all that is asked"),
    "kubeAPIConfig.burst": _not_needed("one watch for each kind of object is all that is asked"),
    "kubeAPIConfig.mode": _ITSELF,
    "kubeAPIConfig.deleteKubeConfig": _not_supported("the file is left alone", (False,)),
    _METASERVER: _metaserver,
    _SECURE: _authorization,
    f"{_METASERVER_TLS}insecureSkipTLSVerify": _not_supported(
        "certificates are always checked: kubernetes.ca_file", (False,)
    ),
    f"{_METASERVER_TLS}tlsCaFile": _while(_SECURE, _taken("kubernetes.ca_file", _text)),
    f"{_METASERVER_TLS}tlsCertFile": _CERTIFICATE,
    f"{_METASERVER_TLS}tlsPrivateKeyFile": _CERTIFICATE,
    "commonConfig.bridgeDeviceName": _not_needed("addresses are put on the loopback interface"),
    "commonConfig.dummyDeviceName": _not_needed("addresses are put on the loopback interface"),
    _ADDRESS: _dns_listen,
    _OLD_ADDRESS: _dns_listen,
    "commonConfig.pprofConfig.enableProfiling": _NO_PROFILES,
    "commonConfig.pprofConfig.profilingAddress": _not_needed("there are no profiles over HTTP"),
    "commonConfig.pprofConfig.profilingPort": _not_needed("there are no profiles over HTTP"),
    "modules.edgeDNS.enable": _taken("dns.enabled", _truth),
    "modules.edgeDNS.listenInterface": _ITSELF,
    _DNS_PORT: _dns_listen,
    "modules.edgeDNS.cacheDNS.enable": _not_needed("answers of other servers are always kept"),
    "modules.edgeDNS.cacheDNS.autoDetect": _auto_detect,
    _UPSTREAMS: _upstreams,
    "modules.edgeDNS.cacheDNS.cacheTTL": _taken("dns.cache_max_ttl_seconds", _number),
    "modules.edgeProxy.enable": _taken("netfilter.enabled", _truth),
    "modules.edgeProxy.listenInterface": _ITSELF,
    f"{_SOCKS}enable": _NO_SOCKS,
    f"{_SOCKS}listenPort": _not_needed("there is no SOCKS proxy"),
    f"{_SOCKS}nodeName": _ITSELF,
    f"{_SOCKS}namespace": _ITSELF,
    "modules.edgeProxy.loadBalancer.caller": _ITSELF,
    "modules.edgeProxy.loadBalancer.nodeName": _ITSELF,
    "modules.edgeProxy.loadBalancer.consistentHash.partitionCount": _elsewhere(
        f"{_PER_SERVICE}ringSize"
    ),
    "modules.edgeProxy.loadBalancer.consistentHash.replicationFactor": _elsewhere(
        f"{_PER_SERVICE}ringSize"
    ),
    "modules.edgeProxy.loadBalancer.consistentHash.load": _elsewhere(
        f"{_PER_SERVICE}boundedLoadPercent, 125 for 1.25"
    ),
    "modules.edgeProxy.serviceFilterMode": _filter_mode,
    f"{_TUNNEL}enable": _links,
    f"{_TUNNEL}mode": _ITSELF,
    f"{_TUNNEL}nodeName": _ITSELF,
    f"{_TUNNEL}configPath": _ITSELF,
    f"{_TUNNEL}listenPort": _link_listen,
    f"{_TUNNEL}transport": _transport,
    f"{_TUNNEL}rendezvous": _BY_CERTIFICATES,
    f"{_TUNNEL}relayNodes": _BY_CLOUD,
    f"{_TUNNEL}enableIpfsLog": _not_needed("there is no IPFS"),
    f"{_TUNNEL}maxCandidates": _BY_CLOUD,
    f"{_TUNNEL}heartbeatPeriod": _not_needed("links are watched: bus.link_silence_seconds"),
    f"{_TUNNEL}finderPeriod": _BY_CLOUD,
    f"{_TUNNEL}psk.enable": _BY_CERTIFICATES,
    f"{_TUNNEL}psk.path": _BY_CERTIFICATES,
    f"{_LIMITS}enable": _not_needed("streams are always limited"),
    f"{_LIMITS}tunnelBaseStreamIn": _not_needed("streams are limited for each link"),
    f"{_LIMITS}tunnelBaseStreamOut": _not_needed("streams are limited for each link"),
    f"{_LIMITS}tunnelPeerBaseStreamIn": _while(
        f"{_LIMITS}enable", _taken("bus.max_streams", _number)
    ),
    f"{_LIMITS}tunnelPeerBaseStreamOut": _not_needed("the other end limits what comes in"),
    f"{_TUNNEL}listenInterfaces": _not_supported("name addresses: bus.link_addresses", ("", "*")),
    f"{_TUNNEL}extraFilteredInterfaces": _not_supported(
        "name addresses: bus.link_addresses", ("",)
    ),
    f"{_TUNNEL}metricConfig.enable": _metrics_switch,
    f"{_TUNNEL}metricConfig.port": _while(f"{_TUNNEL}metricConfig.enable", _metrics),
    "modules.edgeCNI.enable": _NO_CNI,
    "modules.edgeCNI.encapsulationIP": _not_needed("pods get their network elsewhere"),
    "modules.edgeCNI.tunMode": _not_needed("pods get their network elsewhere"),
    "modules.edgeCNI.meshCIDRConfig.cloudCIDR": _not_needed("pods get their network elsewhere"),
    "modules.edgeCNI.meshCIDRConfig.edgeCIDR": _not_needed("pods get their network elsewhere"),
}
# Parts that EdgeMesh fills in itself and writes out with the rest.
ITS_OWN = ("modules.edgeDNS.kubeAPIConfig.",)
