"""A policy object that is wrong in any field is reported, applies otherwise, and hurts no other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, change, destination_rule, endpoint, endpoint_slice, pod, service
from policy_bodies import backend, http_route, to, traffic_policy, virtual_service

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import Source

HEADERS = {"set": {"a": "1"}, "add": {"b": "2"}, "remove": ["c"]}
NAMED = [{"name": "a", "value": "1"}]
CHANGES = {"set": NAMED, "add": NAMED, "remove": ["c"]}
POOL = {
    "tcp": {"maxConnections": 1, "connectTimeout": "1s", "idleTimeout": "1s"},
    "http": {
        "http1MaxPendingRequests": 1,
        "http2MaxRequests": 1,
        "maxRequestsPerConnection": 1,
        "maxRetries": 1,
        "idleTimeout": "1s",
    },
}
OUTLIER = {
    "consecutive5xxErrors": 1,
    "consecutiveGatewayErrors": 1,
    "consecutiveErrors": 1,
    "interval": "1s",
    "baseEjectionTime": "1s",
    "maxEjectionPercent": 1,
    "minHealthPercent": 1,
}
RULE = destination_rule("web", "web")
RULE["spec"] = {
    "host": "web",
    "trafficPolicy": {
        "loadBalancer": {
            "consistentHash": {
                "httpCookie": {"name": "a", "path": "/", "ttl": "1s"},
                "ringHash": {"minimumRingSize": 1},
                "minimumRingSize": 1,
            },
            "localityLbSetting": {
                "enabled": True,
                "failoverPriority": ["kubernetes.io/hostname"],
            },
            "warmup": {"duration": "1s"},
            "warmupDurationSecs": "1s",
        },
        "connectionPool": POOL,
        "outlierDetection": OUTLIER,
        "portLevelSettings": [{"port": {"number": 80}, "connectionPool": POOL}],
    },
    "subsets": [{"name": "v1", "labels": {"v": "1"}, "trafficPolicy": {"connectionPool": POOL}}],
}
POLICY = traffic_policy(
    targetRef={"group": "", "kind": "Service", "name": "web", "port": 80},
    path="http",
    qps={
        "client": {"rate": 1, "burst": 1, "per": "source"},
        "server": {"rate": 1, "burst": 1, "per": "route"},
    },
    concurrency={"maxConcurrent": 1, "maxQueue": 1, "queueTimeout": "1s"},
    circuitBreaker={
        "consecutiveErrors": 1,
        "consecutiveGatewayErrors": 1,
        "interval": "1s",
        "successRateMinimumHosts": 1,
        "successRateRequestVolume": 1,
        "successRateStdevFactor": 1.5,
        "baseEjection": "1s",
        "maxEjection": "1s",
        "maxEjectionPercent": 1,
        "halfOpenRequests": 1,
        "maxConnections": 1,
        "maxPending": 1,
        "maxRequests": 1,
        "maxRetries": 1,
        "maxRequestsPerConnection": 1,
    },
    timeouts={"connect": "1s", "request": "1s", "idle": "1s"},
    connections={"onEndpointRemoved": "close"},
    retries={
        "attempts": 1,
        "perTry": "1s",
        "budgetPercent": 1,
        "retryOn": ["5xx"],
        "statuses": [500],
        "grpcStatuses": [1],
        "backoff": "1s",
        "anyMethod": True,
    },
    healthCheck={
        "http": {"path": "/", "host": "a", "statuses": {"from": 200, "to": 299}},
        "port": 1,
        "interval": "1s",
        "timeout": "1s",
        "healthyThreshold": 1,
        "unhealthyThreshold": 1,
    },
    loadBalancing={
        "algorithm": "maglev",
        "hash": {"cookie": {"name": "a", "path": "/", "ttl": "1s"}},
        "ringSize": 1,
        "boundedLoadPercent": 1,
        "affinity": "1s",
        "slowStart": "1s",
        "locality": "any",
        "panicPercent": 1,
    },
)
VIRTUAL = virtual_service(
    {
        "name": "a",
        "match": [
            {
                "uri": {"prefix": "/a"},
                "scheme": {"exact": "http"},
                "method": {"exact": "GET"},
                "authority": {"regex": "a.*"},
                "headers": {"a": {"exact": "1"}},
                "withoutHeaders": {"b": {}},
                "queryParams": {"q": {"exact": "1"}},
                "ignoreUriCase": True,
                "port": 80,
                "sourceLabels": {"a": "b"},
                "sourceNamespace": "a",
                "gateways": ["mesh"],
            }
        ],
        "route": [
            {
                "destination": {"host": "v1", "port": {"number": 80}, "subset": "a"},
                "weight": 1,
                "headers": {"request": HEADERS, "response": HEADERS},
            }
        ],
        "rewrite": {"uri": "/b", "authority": "b"},
        "timeout": "1s",
        "retries": {"attempts": 1, "perTryTimeout": "1s", "retryOn": "5xx", "backoff": "1s"},
        "headers": {"request": HEADERS, "response": HEADERS},
    },
    {"redirect": {"uri": "/", "authority": "a", "port": 1, "scheme": "http", "redirectCode": 301}},
    {"directResponse": {"status": 200, "body": {"string": "a"}}},
    {"route": [to("v1")], "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "b"}}},
    gateways=["mesh"],
)
PATH = {"type": "ReplaceFullPath", "replaceFullPath": "/a"}
ROUTE = http_route(
    {
        "name": "a",
        "matches": [
            {
                "path": {"type": "Exact", "value": "/a"},
                "headers": [{"type": "Exact", "name": "a", "value": "1"}],
                "queryParams": [{"type": "RegularExpression", "name": "a", "value": "1"}],
                "method": "GET",
            }
        ],
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": CHANGES},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": CHANGES},
            {"type": "URLRewrite", "urlRewrite": {"hostname": "a", "path": PATH}},
        ],
        "backendRefs": [
            backend(
                "v1",
                group="",
                kind="Service",
                weight=1,
                filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": CHANGES}],
            )
        ],
        "timeouts": {"request": "1s", "backendRequest": "1s"},
        "retry": {"codes": [500], "attempts": 1, "backoff": "1s"},
    },
    {
        "filters": [
            {
                "type": "RequestRedirect",
                "requestRedirect": {
                    "scheme": "https",
                    "hostname": "a",
                    "path": PATH,
                    "port": 1,
                    "statusCode": 301,
                },
            }
        ]
    },
    hostnames=["a.org"],
)
WHOLE = [RULE, POLICY, VIRTUAL, ROUTE]
Place = tuple[str | int, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every field and every entry, however deep."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for step, inner in items:
        yield (*place, step)
        yield from places(inner, (*place, step))


def with_value(body: Body, place: Place, value: Any) -> Body:
    changed = copy.deepcopy(body)
    inner: Any = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


EVERY_FIELD = [
    pytest.param(body, ("spec", *place), id=f"{body['kind']}-{'.'.join(map(str, place))}")
    for body in WHOLE
    for place in places(body["spec"])
]


def world() -> SnapshotBuilder:
    made = SnapshotBuilder("edge-1", Source.NODE)
    bodies = [
        service(),
        service("v1", clusterIP="10.96.0.11"),
        service("other", clusterIP="10.96.0.12"),
        endpoint_slice(endpoint("10.0.0.1", pod_name="one")),
        pod("one", labels={"v": "1"}),
    ]
    made.apply(map(change, bodies))
    return made


def told(made: SnapshotBuilder, body: Body) -> str:
    """What the object's conditions say."""
    found = made.conditions(ObjectKey(body["kind"], "default", "web"))
    return " ".join(f"{each.reason} {each.message}" for each in found)


@pytest.mark.parametrize("body", WHOLE, ids=lambda body: body["kind"])
def test_nothing_is_wrong_with_what_is_bent_below(body: Body) -> None:
    made = world()
    made.apply([change(body)])
    made.build(1)
    assert made.problems == {}


@pytest.mark.parametrize(("body", "place"), EVERY_FIELD)
def test_every_field_that_is_of_a_wrong_type_is_reported(body: Body, place: Place) -> None:
    weird: Any = {"weird": "value"}
    bent = with_value(body, place, [weird])
    made = world()
    other = made.build(1).services["default", "other"]
    made.apply([change(bent)])
    after = made.build(2)
    assert after.services["default", "other"] is other
    assert ("default", "web") in after.services
    steps = [step for step in place[1:] if isinstance(step, str) and step.isidentifier()]
    assert steps[-1] in told(made, bent)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 100000)
    | st.floats()
    | st.sampled_from(["", "(", "/", "a", "1s", "-1s", "*", "a.b", "mesh", "Service", "x\r\ny"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "host", "exact", "set", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.sampled_from(WHOLE), st.data())
def test_whatever_stands_in_a_field_nothing_breaks(body: Body, data: st.DataObject) -> None:
    bent = body
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(bent["spec"], ("spec",))) or [("spec",)]))
        bent = with_value(bent, place, data.draw(VALUES))
    made = world()
    other = made.build(1).services["default", "other"]
    made.apply([change(bent)])
    after = made.build(2)
    assert after.services["default", "other"] is other
    assert ("default", "web") in after.services
    assert told(made, bent)
    for port in after.ports.values():
        hash(port.policy)
        hash(port.routes)
