"""Where a connection goes whose Service port has connection routes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.policies import (
    Balancing,
    HashKey,
    HashSource,
    Limits,
    Path,
    Policy,
    Quota,
    QuotaScope,
    Subset,
)
from edgemesh.model.routes import Backend, ConnectionRoute, Route
from edgemesh.model.services import (
    Endpoint,
    PodIdentity,
    ServicePort,
    Snapshot,
    Source,
    Transport,
)
from edgemesh.policy.paths import forwarding_path, hello_matters
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import Verdict, decide, preview

CALLED = ("10.96.0.1", 443)
BLUE = Endpoint("10.0.0.2", 8443)
OWN, V1, V2 = Endpoint("10.0.0.9", 8443), Endpoint("10.0.0.1", 8443), Endpoint("10.0.0.3", 8443)


def port_of(service: str, *endpoints: Endpoint, policy: Policy | None = None) -> ServicePort:
    return ServicePort(
        "default",
        service,
        "",
        Transport.TCP,
        443,
        policy=policy or Policy(),
        endpoints=endpoints,
    )


def to(service: str, **fields: object) -> Backend:
    return replace(Backend("default", service, 0), **fields)  # type: ignore[arg-type]


def route(*backends: Backend, key: str = "route", **match: object) -> ConnectionRoute:
    return ConnectionRoute(key, backends, **match)  # type: ignore[arg-type]


class Shop:
    """The Service ``web`` with routes to ``v1`` and ``v2``, of which one has a subset ``blue``."""

    def __init__(
        self, *routes: ConnectionRoute, web: Policy | None = None, v1: Policy | None = None
    ) -> None:
        self.traffic = Traffic(Random(0).random)
        self.web = replace(port_of("web", OWN, policy=web), connection_routes=routes)
        blue = Subset("blue", frozenset({(BLUE.address, BLUE.port)}), Policy(limits=Limits(7)))
        self.v1 = replace(port_of("v1", V1, policy=v1), source=Source.PRESERVE)
        self.v2 = replace(port_of("v2", V2, BLUE), subsets={"blue": blue})
        self.snapshot = Snapshot(
            tcp={CALLED: self.web},
            ports={each.key: each for each in (self.web, self.v1, self.v2)},
            pods={"10.244.0.9": PodIdentity("shop", "cart-1", labels={"app": "cart"})},
        )
        self.traffic.swap(self.snapshot, 0.0)

    def facts(self, server_name: str = "", *alpn: str, protocol: str = "tls") -> FlowFacts:
        client = ("10.244.0.9", 40000)
        return FlowFacts(Transport.TCP, client, CALLED, protocol, server_name, alpn)

    def decide(self, facts: FlowFacts | None = None) -> Verdict:
        facts = facts or self.facts()
        return decide(self.snapshot, facts, self.traffic, 0.0, listener_port=15001)

    def preview(self, facts: FlowFacts) -> Verdict:
        return preview(self.snapshot, facts, self.traffic, 0.0, listener_port=15001, attempts=2)


def endpoints(verdict: Verdict) -> list[Endpoint]:
    return [state.endpoint for state in verdict.candidates]


def test_the_server_name_leads_to_the_endpoints_and_the_policies_of_the_backend() -> None:
    shop = Shop(route(to("v1"), key="to v1", server_names=("a.example.org",)))
    verdict = shop.decide(shop.facts("a.example.org"))
    assert endpoints(verdict) == [V1]
    assert (verdict.port, verdict.target) == (shop.web, shop.v1)
    assert verdict.source is Source.PRESERVE
    assert verdict.policy is shop.v1.policy
    assert verdict.route == "to v1"


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("b.example.org", "tls"), ("", "tls"), ("", "opaque"), ("a.example.org", "http")],
    ids=["another", "no name", "no TLS", "the Host of a request"],
)
def test_what_no_route_matches_goes_to_the_service_that_was_called(
    name: str, protocol: str
) -> None:
    shop = Shop(route(to("v1"), server_names=("a.example.org",)))
    verdict = shop.decide(shop.facts(name, protocol=protocol))
    assert endpoints(verdict) == [OWN]
    assert (verdict.target, verdict.route) == (shop.web, "")


def test_protocols_of_alpn_and_labels_of_the_caller_lead_there_too() -> None:
    shop = Shop(
        route(to("v1"), alpn=("h2",)),
        route(to("v2"), source_labels=(("app", "cart"),), source_namespace="shop"),
    )
    assert endpoints(shop.decide(shop.facts("", "http/1.1", "h2"))) == [V1]
    assert endpoints(shop.decide(shop.facts("", "http/1.1"))) == [V2]
    stranger = replace(shop.facts(), client=("192.0.2.1", 1))
    assert endpoints(shop.decide(stranger)) == [OWN]


def test_a_subset_has_its_own_endpoints_and_policy() -> None:
    shop = Shop(route(to("v2", subset="blue")))
    verdict = shop.decide()
    assert endpoints(verdict) == [BLUE]
    assert verdict.policy.limits.max_connections == 7


def test_connections_are_shared_out_by_weight() -> None:
    shop = Shop(route(to("v1", weight=3), to("v2", subset="blue", weight=1), to("web", weight=0)))
    counts = Counter(endpoints(shop.decide())[0] for _ in range(4000))
    assert counts.keys() == {V1, BLUE}
    assert 2850 < counts[V1] < 3150


@pytest.mark.parametrize(
    "backend",
    [
        to("v1", problem="Service default/v1 has no port 444"),
        to("gone"),
        to("v2", subset="green"),
        to("v1", weight=0),
    ],
    ids=["a problem", "no Service", "no subset", "no weight"],
)
def test_a_backend_that_cannot_be_used_refuses(backend: Backend) -> None:
    shop = Shop(route(backend, key="to nowhere"))
    for verdict in (shop.decide(), shop.preview(shop.facts())):
        assert (verdict.refusal, verdict.route) == (Refusal.NO_BACKEND, "to nowhere")


def test_limits_are_those_of_the_backend() -> None:
    shop = Shop(route(to("v1")), v1=Policy(limits=Limits(max_connections=1)))
    verdict = shop.decide()
    assert verdict.upstream is not None
    verdict.upstream.open_connection(verdict.candidates[0])
    assert shop.decide().refusal is Refusal.OVERFLOW


def test_quotas_of_the_called_service_and_of_the_backend_hold_both() -> None:
    two, many = Policy(client_quota=Quota(1, 2)), Policy(client_quota=Quota(1, 9))
    for web, v1 in ((two, many), (many, two)):
        shop = Shop(route(to("v1")), web=web, v1=v1)
        assert [shop.decide().refusal for _ in range(3)] == [None, None, Refusal.QUOTA]


def test_a_route_to_the_called_service_itself_takes_one_token() -> None:
    shop = Shop(route(to("web")), web=Policy(client_quota=Quota(1, 2)))
    assert [shop.decide().refusal for _ in range(3)] == [None, None, Refusal.QUOTA]


def test_quotas_by_route_count_each_route_by_itself() -> None:
    shop = Shop(
        route(to("web"), key="h2", alpn=("h2",)),
        route(to("web"), key="other"),
        web=Policy(client_quota=Quota(1, 1, QuotaScope.ROUTE)),
    )
    offers = [("h2",), (), ("h2",), ()]
    refusals = [shop.decide(shop.facts("", *alpn)).refusal for alpn in offers]
    assert refusals == [None, None, Refusal.QUOTA, Refusal.QUOTA]


def test_calls_are_hashed_as_the_backend_says() -> None:
    by_header = Policy(balancing=Balancing(hash_key=HashKey(HashSource.HEADER, "x-user")))
    assert Shop(route(to("v1"))).decide().call.hash_text == "10.244.0.9"
    assert Shop(route(to("v1")), v1=by_header).decide().call.hash_text is None


def test_without_endpoints_at_the_backend_there_is_nowhere_else_to_go() -> None:
    shop = Shop(route(to("v1")))
    shop.v1 = replace(shop.v1, endpoints=())
    shop.snapshot = replace(shop.snapshot, ports={**shop.snapshot.ports, shop.v1.key: shop.v1})
    shop.traffic.swap(shop.snapshot, 1.0)
    for verdict in (shop.decide(), shop.preview(shop.facts())):
        assert (verdict.refusal, verdict.route) == (Refusal.NO_ENDPOINT, "route")


def test_a_preview_shows_where_the_route_leads_and_takes_nothing() -> None:
    shop = Shop(
        route(to("v1"), key="to v1", server_names=("*",)),
        v1=Policy(client_quota=Quota(1, 1)),
    )
    for _ in range(3):
        verdict = shop.preview(shop.facts("a.example.org"))
        assert (endpoints(verdict), verdict.route) == ([V1], "to v1")
    assert endpoints(shop.preview(shop.facts())) == [OWN]


def test_requests_are_none_of_a_connection_route() -> None:
    shop = Shop(route(to("v1")))
    shop.web = replace(shop.web, routes=(Route("requests"),))
    shop.snapshot = replace(
        shop.snapshot,
        tcp={CALLED: shop.web},
        ports={**shop.snapshot.ports, shop.web.key: shop.web},
    )
    shop.traffic.swap(shop.snapshot, 1.0)
    verdict = shop.preview(shop.facts(protocol="http"))
    assert (verdict.path, endpoints(verdict), verdict.route) == (Path.HTTP, [OWN], "")


NAMED = route(to("v1"), server_names=("*",))
ANY = route(to("v1"))
LIMITED = Policy(client_quota=Quota(1, 1))
WEB = port_of("web", OWN, policy=LIMITED)


@pytest.mark.parametrize(
    ("port", "matters"),
    [
        ({}, False),
        ({"policy": LIMITED}, True),
        ({"policy": Policy(path=Path.HTTP)}, True),
        ({"policy": Policy(path=Path.RELAY)}, False),
        ({"policy": LIMITED, "application_protocol": "http"}, False),
        ({"routes": (Route("r"),)}, True),
        ({"connection_routes": (ANY,)}, False),
        ({"connection_routes": (ANY,), "policy": LIMITED}, False),
        ({"connection_routes": (ANY,), "routes": (Route("r"),)}, True),
        ({"connection_routes": (ANY, NAMED)}, True),
        ({"connection_routes": (NAMED,), "application_protocol": "tls"}, True),
        ({"connection_routes": (NAMED,), "policy": Policy(path=Path.RELAY)}, True),
        ({"subsets": {"a": Subset("a", frozenset(), LIMITED)}}, True),
    ],
)
def test_the_first_bytes_are_waited_for_only_where_something_depends_on_them(
    port: dict[str, object], *, matters: bool
) -> None:
    changed = replace(port_of("web", OWN), **port)  # type: ignore[arg-type]
    assert hello_matters(changed) is matters


@pytest.mark.parametrize(
    ("port", "protocol", "path"),
    [
        ({}, "http", Path.HTTP),
        ({}, "tls", Path.RELAY),
        ({"policy": Policy(path=Path.RELAY)}, "http", Path.RELAY),
        ({"policy": Policy(path=Path.HTTP)}, "grpc", Path.HTTP),
        ({"connection_routes": (ANY,)}, "http", Path.RELAY),
        ({"connection_routes": (ANY,), "routes": (Route("r"),)}, "http", Path.HTTP),
        ({"connection_routes": (ANY,), "policy": Policy(path=Path.HTTP)}, "http", Path.HTTP),
    ],
)
def test_where_connections_alone_are_routed_http_is_relayed(
    port: dict[str, object], protocol: str, path: Path
) -> None:
    changed = replace(port_of("web", OWN), **port)  # type: ignore[arg-type]
    assert forwarding_path(changed, protocol) is path


def test_a_backend_without_a_service_is_the_port_that_was_called() -> None:
    assert endpoints(Shop(route(Backend("", "", 0))).decide()) == [OWN]


def test_a_verdict_about_nothing_has_no_target_and_no_policy_of_its_own() -> None:
    unknown = Verdict(None)
    assert (unknown.target, unknown.policy) == (None, Policy())
    called = Verdict(WEB, refusal=Refusal.NO_ENDPOINT)
    assert (called.target, called.policy) == (WEB, LIMITED)
