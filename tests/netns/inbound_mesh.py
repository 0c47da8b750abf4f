"""A Service whose one endpoint, the server of a mesh, is one of the agent's own node.

The pod's calls to the server's own address are what another node's agent sends: they come in over
a link, to an endpoint of this node, and carry no mark.
"""

from __future__ import annotations

from typing import Any

from interception_lab import PORT, SERVER, SERVICE, output
from mesh import Mesh, endpoints, service

ENDPOINT_PORT = 8080
BOTH = [("TCP", PORT), ("UDP", PORT)]


def web_of_this_node(
    addresses: tuple[str, ...] = tuple(SERVER.values()), **port: Any
) -> list[dict[str, Any]]:
    """The Service ``web``, TCP and UDP; ``port`` is more of what its TCP port says."""
    declared = service("web", list(SERVICE.values()), BOTH)
    declared["spec"]["ports"][0] |= port
    slices = endpoints("web", addresses, [(protocol, ENDPOINT_PORT) for protocol, _ in BOTH])
    for each in slices:
        for endpoint in each["endpoints"]:
            endpoint["nodeName"] = "node"
    return [declared, *slices]


def limits(**spec: Any) -> dict[str, Any]:
    """A TrafficPolicy for it."""
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "web"}, **spec},
    }


def inbound_addresses(mesh: Mesh) -> set[str]:
    """What the node's rules divert besides Services, as nft prints it."""
    return {
        element.strip()
        for name in ("inbound4", "inbound6")
        for part in _elements(mesh, name)
        for element in part.split(",")
    }


def _elements(mesh: Mesh, name: str) -> list[str]:
    listed = output(mesh.network.node, ["nft", "list", "set", "inet", "edgemesh", name])
    _, found, rest = listed.partition("elements = {")
    return [rest.partition("}")[0]] if found else []
