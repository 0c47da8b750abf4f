"""The Kubernetes kinds that edgemesh keeps, and the words a user may call them by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object.

    Args:
        name: as it stands in a manifest, ``EndpointSlice``.
        plural: lower case, as in a REST path, ``endpointslices``.
        api_versions: accepted values of ``apiVersion``; the first is written by us.
        namespaced: whether objects live in a namespace.
        short_names: what ``kubectl`` accepts besides.
        judged: whether edgemesh tells by conditions how objects stand; what a manifest says in
            their status is without effect.
    """

    name: str
    plural: str
    api_versions: tuple[str, ...]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    judged: bool = False

    @property
    def word(self) -> str:
        """Lower-case singular: the resource type in a Message."""
        return self.name.lower()


_ISTIO = (
    "networking.istio.io/v1",
    "networking.istio.io/v1beta1",
    "networking.istio.io/v1alpha3",
)

_GATEWAY = "gateway.networking.k8s.io"

KINDS: tuple[Kind, ...] = (
    Kind("Namespace", "namespaces", ("v1",), namespaced=False, short_names=("ns",)),
    Kind("Node", "nodes", ("v1",), namespaced=False, short_names=("no",)),
    Kind("Pod", "pods", ("v1",), short_names=("po",)),
    Kind("Service", "services", ("v1",), short_names=("svc",)),
    Kind("Endpoints", "endpoints", ("v1",), short_names=("ep",)),
    Kind("EndpointSlice", "endpointslices", ("discovery.k8s.io/v1",)),
    Kind("ConfigMap", "configmaps", ("v1",), short_names=("cm",)),
    Kind("Deployment", "deployments", ("apps/v1",), short_names=("deploy",)),
    Kind("DaemonSet", "daemonsets", ("apps/v1",), short_names=("ds",)),
    Kind("StatefulSet", "statefulsets", ("apps/v1",), short_names=("sts",)),
    Kind("DestinationRule", "destinationrules", _ISTIO, short_names=("dr",), judged=True),
    Kind("VirtualService", "virtualservices", _ISTIO, short_names=("vs",), judged=True),
    Kind("Gateway", "gateways", _ISTIO, short_names=("gw",)),
    Kind(
        "HTTPRoute",
        "httproutes",
        (f"{_GATEWAY}/v1", f"{_GATEWAY}/v1beta1"),
        judged=True,
    ),
    Kind("GRPCRoute", "grpcroutes", ("gateway.networking.k8s.io/v1",), judged=True),
    Kind(
        "TLSRoute",
        "tlsroutes",
        (f"{_GATEWAY}/v1", f"{_GATEWAY}/v1alpha3", f"{_GATEWAY}/v1alpha2"),
        judged=True,
    ),
    Kind("TCPRoute", "tcproutes", (f"{_GATEWAY}/v1alpha2", f"{_GATEWAY}/v1"), judged=True),
    Kind(
        "ReferenceGrant",
        "referencegrants",
        (f"{_GATEWAY}/v1beta1", f"{_GATEWAY}/v1"),
        short_names=("refgrant",),
    ),
    Kind(
        "TrafficPolicy",
        "trafficpolicies",
        ("policy.edgemesh.io/v1alpha1",),
        short_names=("tp",),
        judged=True,
    ),
    Kind("Rule", "rules", ("rules.kubeedge.io/v1",)),
    Kind("RuleEndpoint", "ruleendpoints", ("rules.kubeedge.io/v1",)),
    Kind(
        "CustomResourceDefinition",
        "customresourcedefinitions",
        ("apiextensions.k8s.io/v1",),
        namespaced=False,
        short_names=("crd", "crds"),
    ),
)

_BY_WORD = {
    word.lower(): kind for kind in KINDS for word in (kind.name, kind.plural, *kind.short_names)
}


def find_kind(word: str) -> Kind | None:
    """The kind that a user means by its name, plural or short name, in any case."""
    return _BY_WORD.get(word.lower())
