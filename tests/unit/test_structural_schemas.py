"""An API server takes our definitions: their schemas are structural, and their rules are bounded.

Source: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions,
sections "Specifying a structural schema" and "Validation rules".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cel
import pytest
import yaml

from edgemesh.deploy.chart import chart_directory

DEFINITIONS = {
    path.name: yaml.safe_load(path.read_text()) for path in (chart_directory() / "files").iterdir()
}
ALLOWED = {
    "type", "format", "description", "properties", "required", "items", "additionalProperties",
    "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "maxLength", "maxItems",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip
TYPES = {"object", "array", "string", "integer", "number", "boolean"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with the place of its values; a list's entries are []."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


ALL = [
    pytest.param(schema, id=f"{name.removesuffix('.yaml')}{path}")
    for name, body in DEFINITIONS.items()
    for path, schema in nodes(body["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
]


@pytest.mark.parametrize("schema", ALL)
def test_every_part_is_structural(schema: dict[str, Any]) -> None:
    assert schema["type"] in TYPES
    assert set(schema) <= ALLOWED
    assert not {"properties", "additionalProperties"} <= set(schema)
    assert set(schema.get("required", ())) <= set(schema.get("properties", {}))
    assert ("items" in schema) == (schema["type"] == "array")
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        assert key in schema["items"]["required"]


@pytest.mark.parametrize("schema", ALL)
def test_patterns_and_rules_can_be_compiled(schema: dict[str, Any]) -> None:
    if "pattern" in schema:
        cel.compile("self.matches(pattern)").execute({"self": "", "pattern": schema["pattern"]})
    for rule in schema.get("x-kubernetes-validations", ()):
        cel.compile(rule["rule"])
        assert "\n" not in rule["message"]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_what_a_rule_costs_is_bounded(name: str) -> None:
    """The API server refuses a definition whose rules might take too long."""
    schema = DEFINITIONS[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, each in nodes(schema):
        if "x-kubernetes-validations" in each:
            assert "[]" not in path
            assert each["type"] == "object" or "maxLength" in each


@pytest.mark.parametrize("name", DEFINITIONS)
def test_names_belong_together(name: str) -> None:
    body = DEFINITIONS[name]
    names, group = body["spec"]["names"], body["spec"]["group"]
    assert body["metadata"]["name"] == f"{names['plural']}.{group}"
    assert name == f"{names['plural']}.yaml"
    assert names["singular"] == names["kind"].lower()
