"""Objects become typed views, or are refused with the field and the value that are wrong."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, destination_rule, endpoint, endpoint_slice, endpoints_object
from kube_bodies import pod as pod_body
from kube_bodies import service as service_body

from edgemesh.model.kinds import KINDS
from edgemesh.wire.kubernetes import FieldError, decode, decode_as, validate
from edgemesh.wire.kubernetes.core import Namespace, Service
from edgemesh.wire.kubernetes.endpoints import EndpointSlice
from edgemesh.wire.kubernetes.metadata import GenericObject
from edgemesh.wire.kubernetes.pods import Pod
from edgemesh.wire.kubernetes.workloads import Deployment
from edgemesh.wire.quoting import quote


def changed(body: Body, *path: str | int, value: Any) -> Body:
    """The body with one field set."""
    if not path:
        return value
    key, *rest = path
    copy: Any = list(body) if isinstance(body, list) else dict(body)
    inner = copy[key] if isinstance(key, int) or key in copy else {}
    copy[key] = changed(inner, *rest, value=value)
    return copy


def problem_of(body: Any) -> str:
    with pytest.raises(FieldError) as caught:
        validate(body)
    assert str(caught.value) == f"{caught.value.field}: {caught.value.problem}"
    return str(caught.value)


WRONG_FIELDS = [
    (("kind",), None, "kind: required, but missing"),
    (("kind",), 5, "kind: expected a string, got 5"),
    (("kind",), "service", 'kind: expected a kind that edgemesh keeps, got "service"'),
    (("kind",), "Sarvice", 'kind: expected a kind that edgemesh keeps, got "Sarvice"'),
    (("apiVersion",), None, "apiVersion: required, but missing"),
    (("apiVersion",), "v2", 'apiVersion: expected v1 for Service, got "v2"'),
    (("metadata",), None, "metadata: required, but missing"),
    (("metadata",), [], "metadata: expected a mapping, got a list"),
    (("metadata", "name"), None, "metadata.name: required, but missing"),
    (("metadata", "labels"), {"a/b": 5}, 'metadata.labels["a/b"]: expected a string, got 5'),
    (("metadata", "labels"), {5: "a"}, "metadata.labels: expected keys that are strings, got 5"),
    (("spec", "ports"), 5, "spec.ports: expected a list, got 5"),
    (("spec", "ports"), [5], "spec.ports[0]: expected a mapping, got 5"),
    (("spec", "ports", 0), {}, "spec.ports[0].port: required, but missing"),
    (
        ("spec", "ports", 0, "port"),
        70000,
        "spec.ports[0].port: expected an integer from 1 to 65535, got 70000",
    ),
    (
        ("spec", "ports", 0, "port"),
        "80",
        'spec.ports[0].port: expected an integer from 1 to 65535, got "80"',
    ),
    (
        ("spec", "ports", 0, "port"),
        True,
        "spec.ports[0].port: expected an integer from 1 to 65535, got true",
    ),
    (
        ("spec", "ports", 0, "protocol"),
        "tcp",
        'spec.ports[0].protocol: expected one of SCTP, TCP, UDP, got "tcp"',
    ),
    (
        ("spec", "ports", 0, "targetPort"),
        70000,
        (
            "spec.ports[0].targetPort: expected an integer from 1 to 65535 or a port name of at"
            " most 15 lower-case letters, digits and '-' (RFC 6335), got 70000"
        ),
    ),
    (
        ("spec", "publishNotReadyAddresses"),
        "yes",
        'spec.publishNotReadyAddresses: expected true or false, got "yes"',
    ),
    (("spec", "externalName"), 5, "spec.externalName: expected a string, got 5"),
    (("spec", "selector"), ["a"], "spec.selector: expected a mapping, got a list"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG_FIELDS)
def test_a_wrong_field_is_named_with_its_value(
    path: tuple[str | int, ...], value: Any, message: str
) -> None:
    assert problem_of(changed(service_body(), *path, value=value)) == message


@pytest.mark.parametrize("name", ["Web", "web_1", "1web", "-web", "web-", "", "w" * 64, "web\n"])
def test_the_name_of_a_service_is_an_rfc_1035_label(name: str) -> None:
    message = problem_of(changed(service_body(), "metadata", "name", value=name))
    assert message.startswith("metadata.name: expected a name of at most 63 ")
    assert quote(name) in message


@pytest.mark.parametrize("name", ["edge.zone", "Edge", "e" * 64])
def test_the_name_of_a_namespace_is_a_label(name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert problem_of(body).startswith("metadata.name: expected ")


def test_the_name_of_a_namespace_may_begin_with_a_digit() -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "9zone"}}
    assert decode_as(Namespace, body).metadata.name == "9zone"


def test_the_name_of_a_pod_may_be_a_subdomain() -> None:
    assert decode_as(Pod, pod_body("web-1.edge")).metadata.name == "web-1.edge"


@pytest.mark.parametrize("namespace", ["Default", "a.b", "a/b"])
def test_an_invalid_namespace_is_refused(namespace: str) -> None:
    message = problem_of(service_body(namespace=namespace))
    assert message.startswith("metadata.namespace: ")
    assert message.endswith(f"got {quote(namespace)}")


def test_null_counts_as_absent() -> None:
    body = endpoint_slice(endpoint("10.0.0.1", zone=None, targetRef=None))
    body["ports"] = None
    view = decode_as(EndpointSlice, body)
    assert view.ports == ()
    assert view.endpoints[0].zone == ""


def test_a_wrong_field_beside_a_null_is_still_named() -> None:
    body = changed(service_body(selector=None), "spec", "ports", 0, "port", value=0)
    assert problem_of(body).startswith("spec.ports[0].port: ")


def test_depth_beyond_the_view_does_no_harm() -> None:
    deep: Any = None
    for _ in range(900):
        deep = [deep]
    body = service_body(selector=None)
    body["spec"]["unknown"] = deep
    assert decode_as(Service, body).spec.selector == {}


def test_unknown_fields_are_passed_over() -> None:
    assert decode(service_body(futureField={"a": [1]})) == decode(service_body())


def test_any_mapping_is_decoded() -> None:
    body = OrderedDict(service_body(selector=OrderedDict(app="web")))
    assert decode_as(Service, body).spec.selector == {"app": "web"}


def test_a_kind_without_a_view_keeps_its_spec() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web"},
        "spec": {"source": "a"},
    }
    assert decode_as(GenericObject, body).spec == {"source": "a"}


def test_where_one_kind_will_do_another_is_refused() -> None:
    with pytest.raises(FieldError, match='kind: expected Service, got "Pod"'):
        decode_as(Service, pod_body())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_and_version_that_is_kept_is_decoded(kind: Any) -> None:
    spec = {
        "host": "web",
        "hosts": ["web"],
        "targetRef": {"kind": "Service", "name": "web"},
        "from": [{"group": "", "kind": "HTTPRoute", "namespace": "web"}],
        "to": [{"group": "", "kind": "Service"}],
        "ports": [{"port": 1}],
        "selector": {"matchLabels": {}},
        "template": {},
        "source": "a",
        "sourceResource": {},
        "target": "b",
        "targetResource": {},
        "ruleEndpointType": "rest",
    }
    if kind.name == "Service":
        spec["selector"] = {}
    for version in kind.api_versions:
        body = {
            "apiVersion": version,
            "kind": kind.name,
            "metadata": {"name": "web"},
            "addressType": "IPv4",
            "spec": spec,
        }
        assert decode(body).metadata.name == "web"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            pod_body("web", "10.0.0"),
            'status.podIP: expected an IPv4 or IPv6 address, got "10.0.0"',
        ),
        (
            changed(pod_body(), "status", "podIPs", value=[{}, {"ip": "x"}]),
            'status.podIPs[1].ip: expected an IPv4 or IPv6 address, got "x"',
        ),
        (
            endpoint_slice(endpoint("10.0.0.1"), endpoint("web")),
            'endpoints[1].addresses[0]: expected an IPv4 or IPv6 address, got "web"',
        ),
        (
            endpoint_slice(endpoint("fd00::1")),
            'endpoints[0].addresses[0]: expected an IPv4 address, got "fd00::1"',
        ),
        (
            endpoint_slice(endpoint("::ffff:1.2.3.4"), family="IPv6"),
            'endpoints[0].addresses[0]: expected an IPv6 address, got "::ffff:1.2.3.4"',
        ),
        (
            endpoints_object("10.0.0.1", not_ready=("nobody",)),
            'subsets[0].notReadyAddresses[0].ip: expected an IPv4 or IPv6 address, got "nobody"',
        ),
        (
            changed(destination_rule("web", "web"), "spec", "host", value=None),
            "spec.host: required, but missing",
        ),
    ],
)
def test_other_kinds_are_checked_too(body: Body, message: str) -> None:
    assert problem_of(body) == message


def test_names_in_a_slice_are_not_addresses() -> None:
    validate(endpoint_slice(endpoint("web.example"), family="FQDN"))


def test_a_pod_without_podips_has_its_podip() -> None:
    body = changed(pod_body(), "status", value={"podIP": "10.0.0.1"})
    assert decode_as(Pod, body).status.addresses == ("10.0.0.1",)


def test_a_pod_that_does_not_run_yet_has_no_address() -> None:
    body = changed(pod_body(), "status", value={"phase": "Pending"})
    status = decode_as(Pod, body).status
    assert status.addresses == ()
    assert not status.ready
    assert not status.finished


def test_a_deployment_runs_one_pod_unless_it_says_otherwise() -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"image": "web"}]}}},
    }
    view = decode_as(Deployment, body)
    assert view.spec.replicas == 1
    assert view.spec.template.spec.containers[0].image == "web"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = [
    ("metadata",),
    ("metadata", "labels"),
    ("spec",),
    ("spec", "ports"),
    ("spec", "ports", 0, "port"),
    ("spec", "ports", 0, "name"),
    ("spec", "selector"),
    ("spec", "clusterIP"),
    ("spec", "clusterIPs"),
    ("spec", "ipFamilies"),
    ("status",),
]


def refused_field(body: Body) -> FieldError | None:
    try:
        decode(body)
    except FieldError as error:
        return error
    return None


@given(st.sampled_from(FIELDS), JSON)
def test_whatever_stands_in_a_field_there_is_a_view_or_one_line(
    path: tuple[str | int, ...], value: Any
) -> None:
    error = refused_field(changed(service_body(), *path, value=value))
    assert error is None or error.field.startswith(str(path[0]))
    assert str(error).isprintable()


def test_a_value_in_a_message_is_short_and_does_nothing_to_a_terminal() -> None:
    assert quote("x" * 77) == f'"{"x" * 77}"'
    assert quote("x" * 10_000) == f'"{"x" * 75} ...'
    assert quote("\x1b[2J\x9b\n\U000e0001") == r'"\u001b[2J\u009b\n\ue0001"'
    assert quote("\u8fb9") == '"\u8fb9"'
    assert quote({"a": 1}) == "a mapping"
    assert quote((1,)) == "a list"
