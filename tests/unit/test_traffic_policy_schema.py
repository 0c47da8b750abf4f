"""The schema that clusters check TrafficPolicies by, and our decoder, mean the same."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from enum import EnumType
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
import yaml
from crd_schema import problems
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from edgemesh.deploy.chart import chart_directory
from edgemesh.wire.kubernetes.decoding import examine
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.parsed import Duration, Interval
from edgemesh.wire.kubernetes.tolerant import PolicyView
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicySpec

ROOT = Path(__file__).parents[2]
DEFINITION = yaml.safe_load((chart_directory() / "files/trafficpolicies.yaml").read_text())
SCHEMA = DEFINITION["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]
# An indented block that begins with the policy's apiVersion.
SHOWN = re.compile(r"^    apiVersion: policy.*\n(?:^    .*\n)+", re.MULTILINE)
WRONG_ON_PURPOSE = "orders-wrong.yaml"


def policy(**spec: Any) -> dict[str, Any]:
    """A TrafficPolicy that says this."""
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "orders"}, **spec},
    }


def shown_in(text: str) -> Iterator[Any]:
    for body in yaml.safe_load_all(text):
        if isinstance(body, dict) and body.get("kind") == "TrafficPolicy":
            yield body


def examples() -> Iterator[Any]:
    """Every TrafficPolicy that is shown or shipped."""
    for path in sorted((ROOT / "edgemesh/lab").rglob("*.yaml")):
        if path.name != WRONG_ON_PURPOSE:
            for body in shown_in(path.read_text()):
                yield pytest.param(body, id=path.name)
    for path in sorted(ROOT.glob("*.md")):
        for block in SHOWN.findall(path.read_text()):
            for body in shown_in(re.sub(r"^    ", "", block, flags=re.MULTILINE)):
                yield pytest.param(body, id=path.name)


@pytest.mark.parametrize("body", list(examples()))
def test_what_is_shown_is_accepted_by_schema_and_decoder(body: dict[str, Any]) -> None:
    body.setdefault("metadata", {}).setdefault("namespace", "default")
    assert problems(DEFINITION, body) == []
    assert examine(body).problems == ()


def test_something_is_shown() -> None:
    ids = [each.id for each in examples()]
    assert "README.md" in ids
    assert len(ids) > 6


BAD: list[tuple[dict[str, Any], str]] = [
    ({"targetRef": {"kind": "Service"}}, "spec.targetRef: 'name' is a required property"),
    ({"targetRef": {"kind": "Pod", "name": "a"}}, "'Pod' is not one of ['Service']"),
    ({"targetRef": {"kind": "Service", "name": "A"}}, "'A' does not match"),
    (
        {"targetRef": {"kind": "Service", "name": "a", "port": 80, "sectionName": "http"}},
        "spec.targetRef: port and sectionName both name a port",
    ),
    ({"path": "fast"}, "'fast' is not one of"),
    ({"pth": "http"}, "('pth' was unexpected)"),
    ({"qps": {"client": {"burst": 5}}}, "'rate' is a required property"),
    ({"qps": {"server": {"rate": 0}}}, "0 is less than or equal to the minimum of 0"),
    ({"circuitBreaker": {"consecutiveErrors": "many"}}, "'many' is not of type 'integer'"),
    ({"circuitBreaker": {"interval": "1ms"}}, "spec.circuitBreaker.interval: a duration of at"),
    ({"circuitBreaker": {"interval": "0"}}, "a duration of at least 10ms"),
    ({"circuitBreaker": {"maxEjectionPercent": 101}}, "101 is greater than the maximum of 100"),
    ({"timeouts": {"request": "15"}}, "'15' does not match"),
    ({"timeouts": {"request": 15}}, "15 is not of type 'string'"),
    ({"timeouts": {"idle": "100001h"}}, "spec.timeouts.idle: a duration of at most 100000h"),
    ({"retries": {"retryOn": ["sometimes"]}}, "'sometimes' is not one of"),
    ({"retries": {"statuses": [200]}}, "200 is less than the minimum of 400"),
    (
        {"healthCheck": {"http": {}, "grpc": {}}},
        "spec.healthCheck: tcp, http and grpc exclude each other",
    ),
    ({"healthCheck": {"http": {"path": "status"}}}, "'status' does not match"),
    (
        {"healthCheck": {"http": {"statuses": {"from": 300, "to": 200}}}},
        "spec.healthCheck.http.statuses: from is at most to",
    ),
    (
        {"loadBalancing": {"hash": {"header": "a", "query": "b"}}},
        "spec.loadBalancing.hash: header, cookie, query and sourceAddress exclude each other",
    ),
    ({"loadBalancing": {"hash": {"header": "a b"}}}, "'a b' does not match"),
    ({"connections": {"onEndpointRemoved": "drop"}}, "'drop' is not one of"),
]


@pytest.mark.parametrize(("spec", "message"), BAD, ids=lambda each: str(each)[:40])
def test_a_mistake_is_refused_with_a_message(spec: dict[str, Any], message: str) -> None:
    found = problems(DEFINITION, policy(**spec))
    assert any(message in problem for problem in found), found


def test_the_example_of_a_mistake_is_refused() -> None:
    [body] = shown_in((ROOT / "edgemesh/lab/policies" / WRONG_ON_PURPOSE).read_text())
    assert problems(DEFINITION, body) == [
        "spec.circuitBreaker.consecutiveErrors: 'many' is not of type 'integer'"
    ]


def test_every_field_has_the_same_name_type_and_limits() -> None:
    assert list(_differences(TrafficPolicySpec, SPEC, "spec")) == []


# Fields that are any text to the decoder, and that the API server has to bound.
BOUNDED_HERE = {"spec.targetRef.sectionName", "spec.healthCheck.grpc.service"}
BOUNDED_HERE |= {"spec.loadBalancing.hash.query"}


def _differences(kind: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if get_origin(kind) in {Union, UnionType}:
        [kind] = [each for each in get_args(kind) if each is not type(None)]
    if isinstance(kind, type) and issubclass(kind, PolicyView):
        fields = {info.encode_name: info for info in msgspec.structs.fields(kind)}
        required = {name for name, info in fields.items() if info.required}
        if set(fields) != set(schema.get("properties", {})):
            yield f"{path}: fields {set(fields) ^ set(schema.get('properties', {}))}"
            return
        if required != set(schema.get("required", ())):
            yield f"{path}: required {required}"
        for name, info in fields.items():
            yield from _differences(info.type, schema["properties"][name], f"{path}.{name}")
    elif get_origin(kind) is tuple:
        yield from _differences(get_args(kind)[0], schema["items"], f"{path}[]")
    else:
        wanted = _as_schema(kind)
        if path in BOUNDED_HERE:
            wanted["maxLength"] = schema["maxLength"]
        ignored = {"description", "format"}
        actual = {key: value for key, value in schema.items() if key not in ignored}
        if actual != wanted:
            yield f"{path}: {actual} is not {wanted}"


def _as_schema(kind: Any) -> dict[str, Any]:
    if get_origin(kind) is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if isinstance(kind, EnumType):
        return {"type": "string", "enum": [each.value for each in kind]}
    if isinstance(kind, type) and issubclass(kind, Duration):
        return _duration_schema(kind)
    if get_origin(kind) is not Annotated:
        return {"type": {str: "string", bool: "boolean"}[kind]}
    base, meta = get_args(kind)
    assert isinstance(meta, Meta)
    names = {"ge": "minimum", "le": "maximum", "max_length": "maxLength"}
    limits = {name: getattr(meta, word) for word, name in names.items()}
    schema = {name: limit for name, limit in limits.items() if limit is not None}
    if meta.gt is not None:
        schema |= {"minimum": meta.gt, "exclusiveMinimum": True}
    if meta.pattern is not None:
        schema["pattern"] = meta.pattern.replace(r"\A", "^").replace(r"\Z", "$")
    return {"type": {int: "integer", float: "number", str: "string"}[base], **schema}


def _duration_schema(kind: type[Duration]) -> dict[str, Any]:
    least = [
        {"rule": "duration(self) >= duration('10ms')", "message": "a duration of at least 10ms"}
    ]
    most = {"rule": "duration(self) <= duration('100000h')"}
    return {
        "type": "string",
        "maxLength": 126,
        "pattern": r"^(0|([0-9]{1,9}(\.[0-9]{1,9})?(h|ms|us|ns|m|s)){1,6})$",
        "x-kubernetes-validations": [
            *(least if kind is Interval else ()),
            most | {"message": "a duration of at most 100000h"},
        ],
    }


def _values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema allows, and what is nearly so."""
    return st.one_of(
        _allowed(schema), st.sampled_from([None, "", "0", 0, -1, 2**31, 1.5, True, [], {}])
    )


def _allowed(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            names = schema.get("properties", {})
            required = {name: _values(names[name]) for name in schema.get("required", ())}
            others = {name: _values(each) for name, each in names.items() if name not in required}
            return st.fixed_dictionaries(required, optional=others)
        case "array":
            return st.lists(_values(schema["items"]), max_size=3)
        case "integer":
            low, high = schema["minimum"], schema["maximum"]
            return st.sampled_from([low, high, low - 1, high + 1]) | st.integers(low, high)
        case "number":
            return st.floats(-1, 2e9, allow_nan=False)
        case "boolean":
            return st.booleans()
    if "pattern" in schema:
        return st.from_regex(schema["pattern"]) | st.text(max_size=5)
    return st.text(max_size=70)


@settings(max_examples=150)
@given(_allowed({**SPEC, "required": []}), st.booleans())
def test_what_the_schema_accepts_the_decoder_accepts(spec: dict[str, Any], keep: bool) -> None:
    target = spec if keep else {**spec, "targetRef": {"kind": "Service", "name": "orders"}}
    body = policy(**target)
    for pruned in _without_mistakes(body):
        if problems(DEFINITION, pruned) == []:
            assert examine(pruned).problems == ()


def _without_mistakes(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object, and its parts by themselves: a whole one is too seldom right everywhere."""
    yield body
    for name, part in body["spec"].items():
        yield policy(**{name: part})
        if isinstance(part, dict) and name != "targetRef":
            for key, value in part.items():
                yield policy(**{name: {key: value}})


def test_the_decoder_refuses_what_the_property_would_find() -> None:
    """The property can fail: without its patterns the schema lets through what is refused."""
    loose = copy.deepcopy(DEFINITION)
    schema = loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["targetRef"]["properties"]["name"]["pattern"]
    wrong = policy(targetRef={"kind": "Service", "name": "Orders"})
    assert problems(loose, wrong) == []
    with pytest.raises(FieldError, match=r"spec\.targetRef\.name"):
        examine(wrong)
