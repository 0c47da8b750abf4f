"""Network namespaces, and the links and routes between them.

Every function runs ``ip`` or ``sysctl`` and returns when the kernel has done it. Nothing is made
in the namespace of the caller: links are created inside the namespaces they join, so neither a
name nor an address can collide with what the host has.

Checksums and segmentation: a veth pair hands over packets whose checksum is not computed yet
(CHECKSUM_PARTIAL) and segments of up to 64 KiB. Receiving sockets, bridges, nftables and TPROXY
all accept that, so offloads stay on; only a raw packet socket sees a "wrong" checksum.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgemesh.model.errors import OperatorError

RUN_NETNS = Path("/run/netns")
ETC_NETNS = Path("/etc/netns")

# Duplicate address detection keeps an address unusable for a second or two, and here nobody
# else can have it. Without accept_ra=0 the kernel would ask for routers that do not exist.
_AT_ONCE = tuple(
    f"net.ipv6.conf.{scope}.{key}=0"
    for scope in ("all", "default")
    for key in ("accept_dad", "accept_ra")
)

# The kernel's workers wait for each other where many namespaces come and go.
_LINK_DEADLINE_SECONDS = 30.0
_MOUNT_RESOLV_CONF = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


@dataclass(frozen=True, slots=True)
class Attachment:
    """One end of a link.

    Args:
        namespace: name of the network namespace that it lies in.
        device: name of the interface, at most 15 characters.
        addresses: with prefix length, ``10.0.0.1/24`` or ``fd00::1/64``.
        bridge: the bridge of that namespace that the interface becomes a port of, "" for none.
    """

    namespace: str
    device: str
    addresses: tuple[str, ...] = ()
    bridge: str = ""


class Route(NamedTuple):
    """One route.

    Args:
        destination: a prefix, or ``default`` together with a gateway of the family meant.
        via: the gateway's address, "" for what is on the link itself.
        device: the interface, "" to take the one that the gateway lies on.
    """

    destination: str
    via: str = ""
    device: str = ""


def add_namespace(name: str) -> None:
    """Make a network namespace with its loopback interface up.

    Raises:
        OperatorError: it exists already, or the privilege is missing.
    """
    _run(["ip", "netns", "add", name])
    # The loopback interface comes up after the settings: its ::1 takes part in detection too.
    _run(command_in(name, ["sysctl", "-q", "-w", *_AT_ONCE]))
    _batch(name, ["link set lo up"])


def delete_namespace(name: str) -> None:
    """Remove a namespace with its interfaces; nothing happens when there is none.

    The kernel keeps a namespace while a process lives in it: end those first.
    """
    if (RUN_NETNS / name).exists():
        _run(["ip", "netns", "delete", name])


def namespaces(prefix: str) -> list[str]:
    """Names of all namespaces that start with the prefix, sorted."""
    return sorted(path.name for path in RUN_NETNS.glob(f"{prefix}*"))


def add_bridge(namespace: str, device: str, addresses: Iterable[str] = ()) -> None:
    """Make a switch in a namespace, with addresses of its own there if any are given.

    Multicast snooping is off: with no querier it would drop neighbour solicitations, IPv6's ARP.
    """
    _batch(
        namespace,
        [
            f"link add {device} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            *_address_commands(device, addresses),
            f"link set {device} up",
        ],
    )


def connect(a: Attachment, b: Attachment) -> None:
    """Join two namespaces by a veth pair; addresses work when this returns."""
    pair = f"link add {a.device} type veth peer name {b.device} netns {b.namespace}"
    _batch(a.namespace, [pair, *_ready(a)])
    _batch(b.namespace, _ready(b))
    _wait_until_up(a)
    _wait_until_up(b)


def delete_link(namespace: str, device: str) -> None:
    """Remove a veth pair, both ends, before this returns; nothing happens when there is none.

    With a namespace its links go too, but a while later, when a kernel worker comes to it.
    """
    if device in {
        link["ifname"] for link in json.loads(_run(["ip", "-j", "-n", namespace, "link"]))
    }:
        _batch(namespace, [f"link delete {device}"])


def add_route(namespace: str, destination: str, *, via: str = "", device: str = "") -> None:
    """Add one route; its parts are those of ``Route``.

    Raises:
        OperatorError: the kernel refuses it, with the kernel's reason.
    """
    add_routes(namespace, [Route(destination, via, device)])


def add_routes(namespace: str, routes: Iterable[Route]) -> None:
    """Add routes of both families.

    Raises:
        OperatorError: the kernel refuses one, with the kernel's reason; the later ones are not
            added.
    """
    _batch(namespace, [_add_route_command(route) for route in routes])


def isolate_port(namespace: str, device: str, *, isolated: bool) -> None:
    """Keep a bridge's port from all other isolated ports of the bridge, or join it with them."""
    state = "on" if isolated else "off"
    _run(["bridge", "-n", namespace, "link", "set", "dev", device, "isolated", state])


def load_nft(namespace: str, rules: str) -> None:
    """Load nftables rules in a namespace, all or none."""
    _run(command_in(namespace, ["nft", "-f", "-"]), rules)


def set_sysctl(namespace: str, key: str, value: int | str) -> None:
    """Write one kernel setting, named as sysctl does: ``net.ipv4.ip_forward``."""
    _run(command_in(namespace, ["sysctl", "-q", "-w", f"{key}={value}"]))


def command_in(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs a program in a namespace, as the same process.

    Only the network changes: files, /sys with its cgroups and BPF, and processes are the host's.
    """
    return ["nsenter", f"--net={RUN_NETNS / namespace}", "--", *argv]


def command_with_resolver(namespace: str, argv: Sequence[str]) -> list[str]:
    """As ``command_in``, with the namespace's resolv.conf of /etc/netns, in a mount namespace.

    ``ip netns exec`` does so too, but hides /sys/fs with cgroups and BPF from the program.
    """
    # Slave: what is unmounted outside, as when a namespace is deleted, is not kept by this one.
    apart = ["unshare", "--mount", "--propagation", "slave"]
    own = str(ETC_NETNS / namespace / "resolv.conf")
    return command_in(namespace, [*apart, "sh", "-c", _MOUNT_RESOLV_CONF, own, *argv])


def _ready(end: Attachment) -> list[str]:
    bridge = [f"link set {end.device} master {end.bridge}"] if end.bridge else []
    return [*bridge, *_address_commands(end.device, end.addresses), f"link set {end.device} up"]


def _address_commands(device: str, addresses: Iterable[str]) -> list[str]:
    return [
        f"address add {address} dev {device}{' nodad' if ':' in address else ''}"
        for address in addresses
    ]


def _add_route_command(route: Route) -> str:
    gateway = f" via {route.via}" if route.via else ""
    interface = f" dev {route.device}" if route.device else ""
    return f"route add {route.destination}{gateway}{interface}"


def _wait_until_up(end: Attachment) -> None:
    """Wait for the kernel's workers.

    One notices carriers (net/core/link_watch.c). Before it ran, an interface that is up already
    drops neighbour solicitations, and the first connection over it takes a second longer. Another
    lets the link-local address be used, and adds its routes, once there is a carrier
    (addrconf_dad_work(), net/ipv6/addrconf.c).
    """
    deadline = time.monotonic() + _LINK_DEADLINE_SECONDS
    while not _is_up(end):
        if time.monotonic() > deadline:
            raise OperatorError(f"{end.device} in {end.namespace} does not come up")


def _is_up(end: Attachment) -> bool:
    (shown,) = json.loads(_run(["ip", "-j", "-n", end.namespace, "address", "show", end.device]))
    tentative = any(address.get("tentative") for address in shown["addr_info"])
    return shown["operstate"] == "UP" and not tentative


def _batch(namespace: str, commands: Iterable[str]) -> None:
    _run(["ip", "-n", namespace, "-batch", "-"], "\n".join(commands))


def _run(argv: Sequence[str], given: str = "") -> str:
    try:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise OperatorError(f"{argv[0]} is not installed", f"install {argv[0]}") from None
    except subprocess.CalledProcessError as failure:
        told = " ".join(str(failure.stderr).split())
        raise OperatorError(f"{' '.join(argv)}: {told}") from None
    return done.stdout
