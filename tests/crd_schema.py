"""What an API server does with an object of a CustomResourceDefinition: types, then CEL.

As with `kubectl apply`, a field that the schema does not have is refused (fieldValidation=Strict).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import cel
from jsonschema import Draft4Validator, ValidationError, validators

_MATCHES = cel.compile("self.matches(pattern)")


def problems(definition: dict[str, Any], body: Any) -> list[str]:
    """What is wrong with an object: every problem with its place."""
    [version] = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    found = [
        f"{'.'.join(map(str, error.path))}: {error.message}"
        for error in _Validator(_closed(schema)).iter_errors(body)
    ]
    # CEL is about what has the types that the schema says.
    return found or list(_rule_problems(schema, body, ""))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # Kubernetes compiles them with RE2, and Python's re differs: $ there is the very end.
    if isinstance(instance, str) and not _MATCHES.execute({"self": instance, "pattern": pattern}):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


# An OpenAPI 3.0 schema is one of JSON Schema's draft 4, as far as structural schemas go.
_Validator = validators.extend(Draft4Validator, {"pattern": _pattern})


def _closed(schema: Any) -> Any:
    """The schema, with every field refused that it does not name."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    properties = schema.get("properties")
    if schema.get("type") == "object" and isinstance(properties, dict):
        closed["additionalProperties"] = False
        if properties.get("metadata") == {"type": "object"}:
            closed["properties"]["metadata"] = {"type": "object"}
    return closed


def _rule_problems(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _holds(rule["rule"], value):
            yield f"{path}: {rule['message']}"
    if isinstance(value, dict):
        for name, each in schema.get("properties", {}).items():
            if name in value:
                yield from _rule_problems(each, value[name], f"{path}.{name}".lstrip("."))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _rule_problems(schema["items"], item, f"{path}[{index}]")


def _holds(rule: str, value: Any) -> bool:
    try:
        return bool(_compiled(rule).execute({"self": value}))
    except (RuntimeError, ValueError, TypeError):
        # A rule that cannot be evaluated counts as broken.
        return False


@functools.cache
def _compiled(rule: str) -> Any:
    return cel.compile(rule)
